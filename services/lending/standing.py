"""How a loan stands: what is due when and what of it is paid, from the contract's plan and what came back.

Pure, and a function of sums and value dates only, so the order in which repayments and reversals are
posted never matters. What is due when follows the contract (R-28). Principal pays the oldest principal
first, interest the oldest interest (R-27). Principal that comes back before its due date lowers the
interest of the days it is no longer outstanding: each period that ran on less than planned is computed
anew and rounded half up to the fen. Principal that comes late raises nothing: what that costs is penalty
interest, which the scheme never covers (R-41).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from services.lending.schedule import DueState, Instalment, allocate
from shared.money import interest, round_half_up

BY_THE_DAY = frozenset(
    {"bullet_interest_monthly", "bullet_interest_quarterly", "equal_principal", "bullet_all"}
)
"""Methods whose interest is counted by days; the others' is lowered in proportion to principal × days."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What a loan's interest follows from: fen, percent per year, days of the year counted."""

    amount_fen: int
    annual_rate: Decimal
    day_count: int
    disbursed_on: date
    method: str


def standing(
    contract: Contract, plan: Sequence[Instalment], repaid: Mapping[date, int], interest_received_fen: int
) -> tuple[DueState, ...]:
    """Every due with what of it is paid. `plan` as filed; `repaid`: principal in fen by value date
    (a reversal negative); interest beyond what is due stays with the sum received."""
    steps = outstanding_steps(contract.amount_fen, contract.disbursed_on, repaid)
    dues, start, planned = [], contract.disbursed_on, contract.amount_fen
    for part in plan:
        owed = _interest(contract, part, start, planned, steps)
        dues.append(DueState(part.due_on, part.principal_fen, owed, 0, 0))
        start, planned = part.due_on, planned - part.principal_fen
    principal = sum(repaid.values())
    most = sum(due.interest_fen for due in dues)
    return allocate(dues, principal, min(interest_received_fen, most))


def outstanding_steps(
    amount_fen: int, disbursed_on: date, repaid: Mapping[date, int]
) -> list[tuple[date, int]]:
    """`(from day, outstanding)` by value date, one for each day on which it changed (R-41)."""
    steps, outstanding = [(disbursed_on, amount_fen)], amount_fen
    for day in sorted(repaid):
        if repaid[day]:
            outstanding -= repaid[day]
            if steps[-1][0] == day:
                steps[-1] = (day, outstanding)
            else:
                steps.append((day, outstanding))
    return steps


def _interest(
    contract: Contract, part: Instalment, start: date, planned: int, steps: Sequence[tuple[date, int]]
) -> int:
    """One period's interest: the filed figure, unless principal was outstanding for less than planned."""
    days = (part.due_on - start).days
    ran = sum(
        min(planned, outstanding) * (min(until, part.due_on) - max(since, start)).days
        for (since, outstanding), (until, _) in pairwise([*steps, (date.max, 0)])
        if since < part.due_on and until > start
    )
    if ran == planned * days:
        return part.interest_fen
    if contract.method not in BY_THE_DAY:
        return round_half_up(Fraction(part.interest_fen * ran, planned * days))
    counted = round_half_up(interest(ran, contract.annual_rate, 1, contract.day_count))
    # The last filed instalment took the rounding of all others, so it may be the lower one by some fen.
    return min(counted, part.interest_fen)
