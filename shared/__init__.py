"""The technical ground all services stand on; it knows no service.

A file enters here when a second service needs it. The only business words are in `events.py` (the
published language) and `measures/` (the law's figures).
"""
