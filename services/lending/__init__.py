"""Lending: from an enterprise's application to the last fen of its loan.

An application: `applied` → `approved` or `rejected` (approval.py) or `withdrawn` (application.py); an
approval is used up by filings → `filed` (filing.py), or ends unused → `lapsed` (daily.py), `withdrawn`.

A loan begins with its filing (filing.py) and moves on like this (`loan.MOVES`):

- `exception_pending` → `active` or `exception_refused`: the office decides on its rate (rate_exception.py)
- `active` → `overdue`: a due date passed unpaid, found by the day's work (daily.py) or reported (overdue.py)
- `overdue` → `active`: all that was overdue is paid (repayment.py)
- → `settled`: nothing is owed any more (repayment.py); a reversal opens it again
- `active` → `renewed`: another filing took its place without principal being repaid (renewal.py)

A roster that changes reaching back before a disbursement makes a case for the office (roster_case.py).
What lending must know of others it has heard from them: enterprises (borrower.py), institutions and
guarantors (lender.py), claims (claim.py).
"""
