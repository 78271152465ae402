"""The gateway: the one surface. It knows people and machine clients, issues their tokens, and passes
requests on to the service that serves them; it decides nothing about loans.

    account.py     people, machine clients, signing keys: the tables
    keys.py        the ES256 keys tokens are signed with, and the JWKS everybody verifies them by
    token.py       signing in (people) and client credentials (machines)
    accounts.py    the office makes and ends accounts and clients
    activation.py  a registered enterprise turns its code into its account
    sandbox.py     the sandbox's clock
    upstreams.py   the services behind: in this process or over HTTP
    proxy.py       which service serves which path, and passing on
    openapi.py     one OpenAPI document of all
    pages.py       documentation pages that need no internet, and the catalogue of problems
"""
