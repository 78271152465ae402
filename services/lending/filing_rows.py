"""How filings are written: loans, dues and approvals of any number of lines in one statement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.lending.drawdown import FileLoan
from services.lending.loan import Loan
from services.lending.schedule import DueState, ImpossibleSchedule, Instalment, schedule
from shared import audit
from shared.measures import measures_on
from shared.problems import InvalidInput
from shared.rules import Text


@dataclass(frozen=True)
class Filed:
    """A loan that passed every condition, with its schedule."""

    loan: Loan
    dues: tuple[Instalment, ...]

    def states(self) -> tuple[DueState, ...]:
        """The dues with nothing paid yet."""
        return tuple(DueState(due.due_on, due.principal_fen, due.interest_fen, 0, 0) for due in self.dues)


def plan_of(line: FileLoan) -> tuple[Instalment, ...]:
    """The schedule of a filing (R-28). Raises InvalidInput where it cannot be one."""
    measures = measures_on(line.disbursed_on)
    day_count = line.day_count or measures.default_day_count
    if day_count not in measures.day_counts:
        known = ", ".join(map(str, measures.day_counts))
        raise InvalidInput(
            Text(f"计息天数只能是 {known}", f"The days of a year are one of {known}"),
            rule="R-28",
            errors=[{"pointer": "#/day_count", "detail": known}],
        )
    try:
        return schedule(
            amount_fen=line.amount,
            annual_rate=line.annual_rate,
            disbursed_on=line.disbursed_on,
            matures_on=line.matures_on,
            method=line.repayment_method,
            due_day=line.due_day,
            day_count=day_count,
            explicit=line.explicit(),
        )
    except ImpossibleSchedule as error:
        verdict = error.verdict
        raise InvalidInput(verdict.reason, rule=verdict.rule, article=verdict.article) from error


def first_owed(dues: Sequence[Instalment]) -> date:
    """The first day on which anything falls due: a day with nothing to pay (a loan without interest, a
    line of zeros in an explicit list) is paid from the start and never overdue (R-30)."""
    return next(due.due_on for due in dues if due.principal_fen or due.interest_fen)


WRITE = text(
    """
    WITH loans AS (
        INSERT INTO loan SELECT * FROM json_populate_recordset(NULL::loan, CAST(:loans AS json))
    ), dues AS (
        INSERT INTO due SELECT * FROM json_populate_recordset(NULL::due, CAST(:dues AS json))
    )
    UPDATE application a SET unfiled_fen = n.unfiled_fen, state = n.state
    FROM json_to_recordset(CAST(:approvals AS json)) AS n(id uuid, unfiled_fen bigint, state text)
    WHERE a.id = n.id
    """
)


async def write(
    session: AsyncSession, filed: Sequence[Filed], unfiled_fen: Mapping[UUID, int], state: Mapping[UUID, str]
) -> None:
    """Insert the loans and their dues and use up their approvals, in one round trip."""
    if not filed:
        return
    loans = [entry.loan.model_dump() for entry in filed]
    dues = [_due(entry.loan.id, due) for entry in filed for due in entry.dues]
    approvals = [{"id": key, "unfiled_fen": rest, "state": state[key]} for key, rest in unfiled_fen.items()]
    values = {"loans": _json(loans), "dues": _json(dues), "approvals": _json(approvals)}
    await session.execute(WRITE, values)
    for loan in loans:
        audit.note(session, str(loan["id"]), table="loan", after=loan)
    for approval in approvals:
        audit.note(session, str(approval["id"]), table="application", after=approval)


def _due(loan_id: UUID, due: Instalment) -> dict[str, Any]:
    return {
        "loan_id": loan_id,
        "due_on": due.due_on,
        "principal_fen": due.principal_fen,
        "filed_interest_fen": due.interest_fen,
        "interest_fen": due.interest_fen,
        "principal_paid_fen": 0,
        "interest_paid_fen": 0,
    }


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(rows, default=str, ensure_ascii=False, separators=(",", ":"))
