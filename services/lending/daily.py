"""What a new business day brings: loans fall overdue (R-30), approvals lapse (R-21).

Only what changes is touched: both are found by partial indexes on the day they wait for, so the cost
follows the number of changes and not the number of loans. Doing a day twice changes nothing more.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.lending import account_rows, exposure
from services.lending.account import Account, about
from services.lending.application_row import MOVES, Application, about_application, reserved
from services.lending.loan import Loan
from services.lending.overdue_day import begin_overdue
from services.lending.working_calendar import working_days
from shared.calendar import WorkingDays
from shared.events import ApprovalLapsed, OverdueDetected
from shared.outbox import announce

PORTION = 512


async def daily(session: AsyncSession, day: date) -> None:
    """The work of one business day. Loans before the exposure of their enterprises, in the order in which
    everybody locks them (account_rows.py)."""
    await detect_overdue(session, day)
    await lapse_approvals(session, day)


async def lapse_approvals(session: AsyncSession, day: date) -> None:
    """Approvals whose last day has passed end, and what they held is free again (R-24)."""
    passed = (
        select(Application)
        .where(col(Application.state) == "approved", col(Application.lapses_on) < day)
        .order_by(col(Application.id))
        .with_for_update()
    )
    freed: dict[str, int] = {}
    for row in (await session.execute(passed)).scalars():
        row.state = MOVES.after(row.state, "lapse", rule="R-21")
        freed[row.uscc] = freed.get(row.uscc, 0) - reserved(row.renews, row.unfiled_fen)
        row.unfiled_fen = 0
        announce(session, ApprovalLapsed(**about_application(row, day, approved=True)))
    await exposure.change(session, freed)


async def detect_overdue(session: AsyncSession, day: date) -> None:
    """Active loans with a due date before `day` not fully paid become overdue, in portions."""
    calendar = await working_days(session)
    while True:
        due = select(col(Loan.id)).where(col(Loan.state) == "active", col(Loan.next_due_on) < day)
        ids = (await session.execute(due.order_by(col(Loan.next_due_on)).limit(PORTION))).scalars().all()
        if not ids:
            return
        for held in (await account_rows.load(session, ids)).values():
            # Between the look and the lock a repayment may have come in.
            if held.loan.state == "active" and held.overdue_since(day):
                _fall_overdue(session, held, day, calendar)
        await session.flush()
        session.expunge_all()


def _fall_overdue(session: AsyncSession, held: Account, day: date, calendar: WorkingDays) -> None:
    begin_overdue(held, "fall_overdue", day, calendar)
    loan = held.loan
    assert loan.overdue_since is not None
    assert loan.report_deadline is not None
    event = OverdueDetected(
        overdue_since=loan.overdue_since,
        report_deadline=loan.report_deadline,
        position=held.next_position(day),
        **about(loan, day),
    )
    announce(session, event)
