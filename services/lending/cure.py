"""What money received may end: the overdue state (R-32), and the loan itself (R-27)."""

from __future__ import annotations

from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from services.lending.account import Account, about
from services.lending.overdue_day import keep_overdue_day
from shared.calendar import WorkingDays
from shared.events import LoanSettled, OverdueCured
from shared.outbox import announce


def cure_or_settle(
    session: AsyncSession, held: Account, value_date: date, today: date, calendar: WorkingDays
) -> None:
    """Cured when nothing is overdue any more; settled when nothing is owed at all. Otherwise the oldest
    due date may have moved on."""
    if held.loan.state == "overdue" and held.overdue_since(today) is None:
        _cure(session, held, value_date, today)
    keep_overdue_day(held, today, calendar)
    if held.settled and held.loan.state in ("active", "exception_pending"):
        _settle(session, held, value_date, today)


def _cure(session: AsyncSession, held: Account, value_date: date, today: date) -> None:
    loan, since = held.loan, held.loan.overdue_since
    assert since is not None
    held.move("cure", "R-32")
    loan.overdue_since = loan.report_deadline = None
    loan.deadline_provisional = False
    position = held.next_position(today)
    announce(
        session,
        OverdueCured(overdue_since=since, cured_on=value_date, position=position, **about(loan, today)),
    )


def _settle(session: AsyncSession, held: Account, value_date: date, today: date) -> None:
    """Settled on the day the last of it came in, in whatever order it was posted."""
    held.move("settle", "R-27")
    settled_on = max([value_date, *(day for day, repaid in held.repaid.items() if repaid)])
    held.loan.settled_on = settled_on
    position = held.next_position(today)
    announce(session, LoanSettled(settled_on=settled_on, position=position, **about(held.loan, today)))
