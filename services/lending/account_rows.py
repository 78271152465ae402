"""Accounts are read, locked and written as a set: one loan or ten thousand take the same few round trips.

Loans are locked in the order of their ids, and always before the exposure of their enterprise, so that
nobody waits in a circle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.lending.account import Account
from services.lending.loan import Loan
from services.lending.schedule import DueState, Instalment


async def load(session: AsyncSession, loan_ids: Iterable[UUID]) -> dict[UUID, Account]:
    """The accounts of these loans, locked until the transaction ends; unknown ids are left out."""
    ids = sorted(set(loan_ids))
    if not ids:
        return {}
    locked = select(Loan).where(col(Loan.id).in_(ids)).order_by(col(Loan.id)).with_for_update()
    loans = (await session.execute(locked.execution_options(populate_existing=True))).scalars()
    accounts = {loan.id: Account(loan) for loan in loans}
    await fill(session, accounts)
    return accounts


async def fill(session: AsyncSession, accounts: dict[UUID, Account]) -> None:
    """Read dues and steps of these accounts, two round trips for all of them."""
    ids = list(accounts)
    dues: dict[UUID, list[DueState]] = defaultdict(list)
    for row in await session.execute(DUES, {"ids": ids}):
        accounts[row.loan_id].plan.append(Instalment(row.due_on, row.principal_fen, row.filed_interest_fen))
        dues[row.loan_id].append(
            DueState(
                row.due_on,
                row.principal_fen,
                row.interest_fen,
                row.principal_paid_fen,
                row.interest_paid_fen,
            )
        )
    for row in await session.execute(STEPS, {"ids": ids}):
        accounts[row.loan_id].repaid[row.from_day] = row.repaid_fen
    for loan_id, account in accounts.items():
        account.dues = account.saved_dues = tuple(dues[loan_id])


async def save(session: AsyncSession, accounts: Collection[Account]) -> None:
    """Write the dues and steps that changed; the loans' own rows are written by the session."""
    dues = [
        (account.loan.id, due)
        for account in accounts
        for due, before in zip(account.dues, account.saved_dues, strict=True)
        if due != before
    ]
    if dues:
        values = {
            "loans": [loan_id for loan_id, _ in dues],
            "days": [due.due_on for _, due in dues],
            "interest": [due.interest_fen for _, due in dues],
            "principal_paid": [due.principal_paid_fen for _, due in dues],
            "interest_paid": [due.interest_paid_fen for _, due in dues],
        }
        await session.execute(SAVE_DUES, values)
    steps = [
        (account.loan.id, day, account.repaid[day]) for account in accounts for day in account.changed_days
    ]
    if steps:
        loans, days, repaid = (list(part) for part in zip(*steps, strict=True))
        await session.execute(SAVE_STEPS, {"loans": loans, "days": days, "repaid": repaid})


DUES = text(
    "SELECT loan_id, due_on, principal_fen, filed_interest_fen, interest_fen, principal_paid_fen, "
    "interest_paid_fen FROM due "
    "WHERE loan_id = ANY(CAST(:ids AS uuid[])) ORDER BY loan_id, due_on"
)


STEPS = text(
    "SELECT loan_id, from_day, repaid_fen FROM principal_step WHERE loan_id = ANY(CAST(:ids AS uuid[]))"
)


SAVE_DUES = text(
    "UPDATE due d SET interest_fen = n.interest, principal_paid_fen = n.principal_paid, "
    "interest_paid_fen = n.interest_paid "
    "FROM unnest(CAST(:loans AS uuid[]), CAST(:days AS date[]), CAST(:interest AS bigint[]), "
    "CAST(:principal_paid AS bigint[]), CAST(:interest_paid AS bigint[])) "
    "AS n(loan_id, due_on, interest, principal_paid, interest_paid) "
    "WHERE d.loan_id = n.loan_id AND d.due_on = n.due_on"
)


SAVE_STEPS = text(
    "INSERT INTO principal_step (loan_id, from_day, repaid_fen) "
    "SELECT * FROM unnest(CAST(:loans AS uuid[]), CAST(:days AS date[]), CAST(:repaid AS bigint[])) "
    "ON CONFLICT (loan_id, from_day) DO UPDATE SET repaid_fen = excluded.repaid_fen"
)
