"""The overdue day D of a loan and the deadline of its report, kept as repayments come in (R-30 to R-32)."""

from __future__ import annotations

from datetime import date

from sqlalchemy import extract, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.lending import policy
from services.lending.account import Account
from services.lending.loan import Loan
from shared import audit
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


async def recount_deadlines(session: AsyncSession, year: int, calendar: WorkingDays) -> None:
    """A new plan of a year moves the deadlines of overdue loans that were counted by the old one (R-33);
    a report already on record keeps the deadline it was judged by."""
    in_year = or_(
        extract("year", col(Loan.overdue_since)) == year, extract("year", col(Loan.report_deadline)) == year
    )
    late = col(Loan.state) == "overdue"
    days = select(col(Loan.overdue_since), col(Loan.measures)).where(late, in_year).distinct()
    for since, version in (await session.execute(days)).all():
        assert since is not None  # as the table's constraint has it for an overdue loan
        measures = measures_on(date.fromisoformat(version))
        told = policy.report_lateness(since, since, measures, calendar)
        same = (late, col(Loan.overdue_since) == since, col(Loan.measures) == version)
        values = {"report_deadline": told.deadline, "deadline_provisional": bool(told.provisional)}
        moved = update(Loan).where(*same).values(**values)
        await session.execute(moved.execution_options(synchronize_session=False))
        audit.note(session, f"overdue since {since}", table="loan", after=values)
