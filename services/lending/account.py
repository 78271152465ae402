"""A loan's account: the loan with its dues and principal steps, loaded, changed and saved as a set.

One loan or ten thousand take the same few round trips. Loans are locked in the order of their ids, and
always before the exposure of their enterprise, so that nobody waits in a circle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.lending import policy
from services.lending.loan import MOVES, Loan
from services.lending.schedule import DueState, Instalment
from services.lending.standing import Contract, outstanding_steps, standing
from shared import events
from shared.events import Position


@dataclass
class Account:
    """A locked loan and all that its position rests on. Amounts in fen."""

    loan: Loan
    plan: list[Instalment] = field(default_factory=list)
    dues: tuple[DueState, ...] = ()
    repaid: dict[date, int] = field(default_factory=dict)
    saved_dues: tuple[DueState, ...] = ()
    changed_steps: dict[date, int] = field(default_factory=dict)

    def receive(self, principal_fen: int, interest_fen: int, value_date: date) -> None:
        """Principal falls on the value date, interest is received; negative amounts undo (R-27)."""
        if principal_fen:
            self.repaid[value_date] = self.repaid.get(value_date, 0) + principal_fen
            self.changed_steps[value_date] = self.changed_steps.get(value_date, 0) + principal_fen
        self.loan.outstanding_fen -= principal_fen
        self.loan.interest_received_fen += interest_fen
        self.restate()

    def restate(self) -> None:
        """Compute anew what is due and what of it is paid."""
        loan = self.loan
        self.dues = standing(contract_of(loan), self.plan, self.repaid, loan.interest_received_fen)
        loan.next_due_on = next((due.due_on for due in self.dues if not due.paid), None)

    def move(self, name: str, rule: str) -> None:
        """The loan's next state. Raises IllegalMove."""
        self.loan.state = MOVES.after(self.loan.state, name, rule=rule)

    def would_settle(self, principal_fen: int, interest_fen: int, value_date: date) -> bool:
        """Would this repayment leave nothing outstanding and no interest due?"""
        if principal_fen != self.loan.outstanding_fen:
            return False
        repaid = {**self.repaid, value_date: self.repaid.get(value_date, 0) + principal_fen}
        received = self.loan.interest_received_fen + interest_fen
        return all(due.paid for due in standing(contract_of(self.loan), self.plan, repaid, received))

    @property
    def settled(self) -> bool:
        """Nothing outstanding and no interest due (R-27)."""
        return self.loan.outstanding_fen == 0 and self.loan.next_due_on is None

    def overdue_since(self, today: date) -> date | None:
        """D of R-30, None when nothing is overdue."""
        return self.loan.next_due_on if policy.is_overdue(self.loan.next_due_on, today) else None

    def next_position(self, today: date) -> Position:
        """The position after a change, one version on."""
        self.loan.version += 1
        return position(self.loan, self.dues, self.repaid, today)


def contract_of(loan: Loan) -> Contract:
    """What the loan's interest follows from."""
    return Contract(
        loan.amount_fen, loan.annual_rate, loan.day_count, loan.disbursed_on, loan.repayment_method
    )


def position(loan: Loan, dues: Sequence[DueState], repaid: dict[date, int], today: date) -> Position:
    """The loan as it stands, for events: the one place where a position is made."""
    overdue = policy.is_overdue(loan.next_due_on, today) and loan.state not in ("renewed", "settled")
    return Position(
        version=loan.version,
        outstanding=loan.outstanding_fen,
        interest_received=loan.interest_received_fen,
        dues=tuple(
            events.Due(
                due_on=due.due_on,
                principal=due.principal_fen,
                interest=due.interest_fen,
                principal_paid=due.principal_paid_fen,
                interest_paid=due.interest_paid_fen,
            )
            for due in dues
        ),
        steps=tuple(
            events.PrincipalStep(from_day=day, outstanding=outstanding)
            for day, outstanding in outstanding_steps(loan.amount_fen, loan.disbursed_on, repaid)
        ),
        overdue_since=loan.next_due_on if overdue else None,
    )


def about(loan: Loan, today: date) -> dict[str, Any]:
    """What every event about a loan says."""
    return {
        "loan_id": loan.id,
        "number": loan.number,
        "uscc": loan.uscc,
        "enterprise_name": loan.enterprise_name,
        "institution_id": loan.institution_id,
        "institution_name": loan.institution_name,
        "business_date": today,
        "measures": loan.measures,
    }


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
        (account.loan.id, day, change)
        for account in accounts
        for day, change in account.changed_steps.items()
        if change
    ]
    if steps:
        loans, days, changes = (list(part) for part in zip(*steps, strict=True))
        await session.execute(SAVE_STEPS, {"loans": loans, "days": days, "changes": changes})


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
    "SELECT * FROM unnest(CAST(:loans AS uuid[]), CAST(:days AS date[]), CAST(:changes AS bigint[])) "
    "ON CONFLICT (loan_id, from_day) DO UPDATE "
    "SET repaid_fen = principal_step.repaid_fen + excluded.repaid_fen"
)
