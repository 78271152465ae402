"""A loan's account: the loan with its dues and principal steps, and what happens to it (R-27, R-30).

What it rests on is read and written by account_rows.py; its events all carry the position made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

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
    changed_days: set[date] = field(default_factory=set)

    def receive(self, principal_fen: int, interest_fen: int, value_date: date) -> None:
        """Principal falls on the value date, interest is received; negative amounts undo (R-27)."""
        if principal_fen:
            self.repaid[value_date] = self.repaid.get(value_date, 0) + principal_fen
            self.changed_days.add(value_date)
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
