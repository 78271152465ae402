"""The gateway: the one surface. It knows people and machine clients, issues their tokens, and passes
requests on to the service that serves them; it decides nothing about loans.

    account.py        people, machine clients, signing keys: the tables
    holder.py         which roles go together, and which party they need
    keys.py           the ES256 keys tokens are signed with, and the JWKS everybody verifies them by
    passwords.py      argon2id beside the loop
    lockout.py        the lock-out of guessers
    signing_in.py     people: name and password
    token.py          machine clients: OAuth 2.0 client credentials
    me.py             one's own account
    shown.py          accounts as requests name them and answers show them
    activation.py     whoever holds a code sets the password of an account (R-08)
    accounts.py       the office makes and closes accounts of people
    first_account.py  the first account, made on the database itself
    clients.py        the office makes and revokes clients of core systems
    ended.py          access that was ended is out within a second
    sandbox.py        the sandbox's clock
    upstreams.py      the services behind, and the way inside one process
    remote.py         the way over HTTP
    exchange.py       one request there and its answer
    pool.py           the connections to one service
    wire.py           one connection
    routes.py         which service serves which path
    openapi.py        one OpenAPI document of all
    examples.py       an example on every operation
    surface.py        routes and document, read anew from the services while they run
    edge.py           every request passes here: its id, its limits, on to its service
    pages.py          documentation pages that need no internet
    catalogue.py      what each problem means
"""
