"""Compensation: from a bank's claim to the last fen shared or written off.

A claim passes these states (`claim.MOVES`); the file named moves it on:

- → `submitted`: the institution claims (submission.py)
- `submitted` ⇄ `meeting`: a unit objects or asks for a meeting, or thinks better of it (deliberation.py)
- → `returned`, → `submitted` again, → `withdrawn`: sent back, resubmitted, taken back (returning.py)
- → `lapsed`: the loan was cured or settled before approval (recomputation.py, on lending's facts)
- → `approved` or `declined`: the conference decides (deliberation.py, approval.py)
- `approved` → `cancelled`: the borrower paid in full before anything was paid out (cancellation.py)
- `approved` → `paid`: fund and guarantor have paid (payout.py)
- `paid` → `written_off`: finance writes the final loss off (write_off.py)

Money recovered is shared from `paid` on (recovery.py, receipt.py); the duty to register the default in
the credit registry stands from the approval on (credit_record.py). The fund's ledger is in fund.py, its
appropriations in appropriation.py. What the service knows of loans it has heard from lending
(covered_loan.py). Every command takes the loan's row first: it guards all claims of that loan; then the
fund, then the institution's year (docket.py).
"""
