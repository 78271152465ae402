"""Moving a filled installation from one form to the other: its databases, its log, its secret.

`command.py` says in which order, `side.py` what an installation is, `tables.py` carries a database and
`log.py` the log. Why it is so: docs/decisions/0013-moving-between-the-forms.md.
"""
