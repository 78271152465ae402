"""A change of the roster that reaches back before a disbursement never unfiles a loan (R-25): it becomes
a case for the office, found when the roster speaks and decided once.

`kept`: the loan stays as it is. `not_covered` is on record for any later claim; the loan's own state and
its repayments go on, since money lent is owed all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field
from starlette.responses import Response

from services.lending.listing import chosen, newest_first
from services.lending.loan import Table, one_of
from shared.events import AboutInstitution, SupportListChanged
from shared.pages import Cursor, Limit, Page
from shared.problems import IllegalMove, NotFound, refusals
from shared.rules import Text
from shared.service import Caller, Session, Today, router
from shared.states import Moves

steps = router("loans")
MOVES = Moves({("open", "keep"): "kept", ("open", "exclude"): "not_covered"})
CAUSES = ("not_listed", "institution_not_active")


class RosterCase(Table, table=True):
    """A filed loan whose enterprise or institution turned out not to qualify on the disbursement date."""

    __tablename__ = "roster_case"
    __table_args__ = (
        CheckConstraint(one_of("cause", CAUSES), name="roster_case_cause"),
        CheckConstraint(one_of("state", sorted(MOVES.states)), name="roster_case_state"),
        Index("roster_case_once", "loan_id", "cause", unique=True),
        Index("roster_case_open", "id", postgresql_where=text("state = 'open'")),
    )

    id: UUID = Field(primary_key=True)
    loan_id: UUID = Field(foreign_key="loan.id")
    cause: str
    found_on: date
    state: str = "open"
    reason: str | None = None
    decided_on: date | None = None
    decided_by: str | None = None


class RosterCaseShown(BaseModel):
    """A case and what the office decided."""

    id: UUID
    loan_id: UUID
    cause: Literal["not_listed", "institution_not_active"]
    found_on: date
    state: Literal["open", "kept", "not_covered"]
    reason: str | None
    decided_on: date | None
    decided_by: str | None


class DecideRosterCase(BaseModel):
    """The office's decision, and why."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"decision": "keep", "reason": "放款时在名单内，名单事后更正"}]},
    )

    decision: Literal["keep", "exclude"]
    reason: str = Member(min_length=1, max_length=512)


class RosterCaseFilter(BaseModel):
    """Which cases to list."""

    loan_id: UUID | None = None
    state: Literal["open", "kept", "not_covered"] | None = None


OFF_THE_LIST = text(
    "INSERT INTO roster_case (id, loan_id, cause, found_on, state) "
    "SELECT uuidv7(), l.id, 'not_listed', :day, 'open' FROM loan l JOIN borrower b USING (uscc) "
    "WHERE l.uscc = ANY(CAST(:usccs AS text[])) AND NOT b.listed @> l.disbursed_on "
    "AND l.state IN ('active', 'overdue', 'exception_pending') ON CONFLICT (loan_id, cause) DO NOTHING"
)
NOT_ACTIVE = text(
    "INSERT INTO roster_case (id, loan_id, cause, found_on, state) "
    "SELECT uuidv7(), l.id, 'institution_not_active', :day, 'open' "
    "FROM loan l JOIN lender i USING (institution_id) "
    "WHERE l.institution_id = ANY(CAST(:ids AS uuid[])) AND NOT i.active @> l.disbursed_on "
    "AND l.state IN ('active', 'overdue', 'exception_pending') ON CONFLICT (loan_id, cause) DO NOTHING"
)


async def list_reaches_back(session: AsyncSession, events: Sequence[SupportListChanged]) -> None:
    """Reaction: loans of these enterprises disbursed on a day that is off the list after all."""
    usccs = sorted({event.uscc for event in events})
    await session.execute(OFF_THE_LIST, {"usccs": usccs, "day": events[-1].business_date})


async def exit_reaches_back(session: AsyncSession, events: Sequence[AboutInstitution]) -> None:
    """Reaction: loans of these institutions disbursed on or after the day their cooperation ended."""
    ids = sorted({event.institution_id for event in events})
    await session.execute(NOT_ACTIVE, {"ids": ids, "day": events[-1].business_date})


@steps.get("/v1/roster-cases", operation_id="list_roster_cases", response_model=Page[RosterCaseShown])
async def list_roster_cases(
    session: Session,
    wanted: Annotated[RosterCaseFilter, Query()],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Loans the roster's changes reached back to, newest first."""
    where = chosen(RosterCase, wanted)
    return await newest_first(session, RosterCase, RosterCaseShown, where, limit, cursor)


@steps.post(
    "/v1/roster-cases/{case_id}/decision",
    operation_id="decide_roster_case",
    responses=refusals(IllegalMove, NotFound),
)
async def decide_roster_case(
    case_id: UUID, body: DecideRosterCase, session: Session, who: Caller, today: Today
) -> RosterCaseShown:
    """Decide a case, once."""
    row = await session.get(RosterCase, case_id, with_for_update=True)
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    row.state = MOVES.after(row.state, body.decision, rule="R-25")
    row.reason, row.decided_on, row.decided_by = body.reason, today, who.name
    return RosterCaseShown.model_validate(row.model_dump())
