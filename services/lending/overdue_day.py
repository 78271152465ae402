"""The overdue day D of a loan and the deadline of its report, kept as repayments come in (R-30 to R-32)."""

from __future__ import annotations

from datetime import date

from services.lending import policy
from services.lending.account import Account
from shared.calendar import WorkingDays
from shared.measures import measures_on


def begin_overdue(held: Account, move: str, today: date, calendar: WorkingDays) -> None:
    """Into `overdue`: D passed unpaid. The caller has made sure that something is overdue."""
    held.move(move, "R-30")
    keep_overdue_day(held, today, calendar)


def keep_overdue_day(held: Account, today: date, calendar: WorkingDays) -> None:
    """D is the oldest due date with anything unpaid: a part payment moves it only by paying the oldest
    due in full, and the deadline of the report with it."""
    loan = held.loan
    since = held.overdue_since(today) if loan.state == "overdue" else None
    if since is None or since == loan.overdue_since:
        return
    measures = measures_on(loan.disbursed_on)
    lateness = policy.report_lateness(since, since, measures, calendar)
    loan.overdue_since, loan.report_deadline = since, lateness.deadline
    loan.deadline_provisional = bool(lateness.provisional)
