"""A case before the conference: the vote and the meeting, for nominations and admissions alike (R-07).

`voting` while units may still vote it through, `meeting` as soon as one objects or asks for a meeting,
back to `voting` when that unit changes its ballot; `approved` by all units or by the meeting, `declined`
by the meeting.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, TypeVar, cast
from uuid import UUID

from sqlalchemy import CheckConstraint, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col

from services.roster.enterprise import Table, instant, one_of
from shared.ballots import (
    BallotRow,
    BallotShown,
    CastBallot,
    Choice,
    MeetingOutcome,
    not_in_future,
    shown,
    standing,
    unit_of,
)
from shared.identity import Principal
from shared.measures import measures_on
from shared.problems import InvalidInput, NotFound
from shared.rules import Text
from shared.service import Running
from shared.states import Moves

MOVES = Moves(
    {
        ("voting", "cast_ballot"): "voting",
        ("meeting", "cast_ballot"): "meeting",
        ("meeting", "record_meeting"): "approved",
        ("meeting", "record_meeting_declined"): "declined",
    }
)
State = Literal["voting", "meeting", "approved", "declined"]
AFTER = {"open": "voting", "meeting": "meeting", "approved": "approved"}
"""The state of a case by where its vote stands."""


def case_rules(table: str) -> tuple[CheckConstraint, ...]:
    """What holds for every case."""
    return (
        CheckConstraint(one_of("state", sorted(MOVES.states)), name=f"{table}_state"),
        CheckConstraint(
            "(state IN ('approved', 'declined')) = (decided_on IS NOT NULL)", name=f"{table}_decided"
        ),
        CheckConstraint("decided_on >= opened_on", name=f"{table}_decided_after"),
    )


class NominationBallot(Table, BallotRow, table=True):
    """One unit's ballot on a nomination."""

    __tablename__ = "nomination_ballot"
    case_id: UUID = Field(primary_key=True, foreign_key="nomination.id")
    cast_at: Any = instant()


class AdmissionBallot(Table, BallotRow, table=True):
    """One unit's ballot on an admission."""

    __tablename__ = "admission_ballot"
    case_id: UUID = Field(primary_key=True, foreign_key="admission.id")
    cast_at: Any = instant()


Ballot = TypeVar("Ballot", NominationBallot, AdmissionBallot)
Case = TypeVar("Case", bound=Any)


async def held(session: AsyncSession, kind: type[Case], case_id: UUID) -> Case:
    """The case, locked; 404 when there is none."""
    query = select(kind).where(col(kind.id) == case_id).with_for_update()
    case = (await session.execute(query)).scalar_one_or_none()
    if case is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    return case  # type: ignore[no-any-return]


async def ballots_of(
    session: AsyncSession, kind: type[Ballot], case_id: UUID, today: date
) -> list[BallotShown]:
    """Every unit with its ballot on a case."""
    rows = (await session.execute(select(kind).where(col(kind.case_id) == case_id))).scalars().all()
    return shown(rows, measures_on(today))


async def take_ballot(
    session: AsyncSession, kind: type[Ballot], case: Any, who: Principal, body: CastBallot, here: Running
) -> None:
    """Cast or change a unit's ballot on a held case; its state follows the vote."""
    today = here.clock.today()
    measures = measures_on(today)
    unit = unit_of(who, measures)
    MOVES.after(case.state, "cast_ballot", rule="R-07")
    query = select(kind).where(col(kind.case_id) == case.id)
    rows = {row.unit: row for row in (await session.execute(query)).scalars()}
    told: dict[str, Any] = {
        "choice": body.choice,
        "comment": body.comment,
        "cast_by": who.subject,
        "cast_at": here.clock.now(),
    }
    if unit in rows:
        for name, value in told.items():
            setattr(rows[unit], name, value)
    else:
        rows[unit] = kind(case_id=case.id, unit=unit, **told)
        session.add(rows[unit])
    choices = {name: cast(Choice, row.choice) for name, row in rows.items()}
    case.state = AFTER[standing(choices, measures)]
    if case.state == "approved":
        case.decided_on = today
    await session.flush()


def meet(case: Any, body: MeetingOutcome, today: date) -> None:
    """Record what the meeting decided on a held case."""
    not_in_future(body, today)
    if body.held_on < case.opened_on:
        raise InvalidInput(
            Text("会议日期不能早于案件提交日", "The meeting cannot be before the case was opened"),
            rule="R-07",
            errors=[{"pointer": "#/held_on", "detail": "≥ " + case.opened_on.isoformat()}],
        )
    move = "record_meeting" if body.outcome == "approved" else "record_meeting_declined"
    case.state = MOVES.after(case.state, move, rule="R-07")
    case.decided_on = body.held_on
    case.minutes_number = body.minutes_number
