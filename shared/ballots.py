"""The conference's vote (R-07), used by roster (nominations, admissions) and compensation (claims).

Seven units, one ballot each, changeable until the case closes. All approve → approved. Any `object`
or `meet` → an offline meeting decides, whose outcome the office records. The units are data of the
measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Field as ColumnField
from sqlmodel import SQLModel

from shared.clock import Day
from shared.identity import Principal
from shared.measures import Measures
from shared.problems import Forbidden, InvalidInput, PreconditionFailed
from shared.rules import Text

Choice = Literal["approve", "object", "meet"]
Standing = Literal["open", "approved", "meeting"]


class CastBallot(BaseModel):
    """A unit's ballot. `figures` names the version of the case the voter saw, where it can change
    (a claim computed anew): an outdated one is refused, so that nobody votes on old figures."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    choice: Choice
    comment: str = Field(default="", max_length=2000)
    figures: int | None = None


class MeetingOutcome(BaseModel):
    """What the offline meeting decided, by its minutes."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [{"outcome": "approved", "minutes_number": "〔2026〕3号", "held_on": "2026-03-02"}]
        },
    )

    outcome: Literal["approved", "declined"]
    minutes_number: str = Field(min_length=1, max_length=100, examples=["联席会议〔2026〕3号"])
    held_on: Day = Field(examples=["2026-03-02"])


class BallotRow(SQLModel):
    """Columns of a ballot; each service has its own table of them, keyed by case and unit."""

    case_id: UUID = ColumnField(primary_key=True)
    unit: str = ColumnField(primary_key=True)
    choice: str
    comment: str = ""
    cast_by: str
    cast_at: datetime


class BallotShown(BaseModel):
    """One unit's ballot as everybody who may see the case sees it."""

    unit: str
    unit_name: str
    choice: Choice | None
    comment: str
    cast_at: datetime | None


def unit_of(principal: Principal, measures: Measures) -> str:
    """The member unit a principal votes for; refuses one whose party is no unit (R-07)."""
    if principal.party not in {unit.code for unit in measures.units}:
        raise Forbidden(
            Text("您不代表任何联席会议成员单位", "You act for no unit of the conference"), rule="R-07"
        )
    assert principal.party is not None
    return principal.party


def standing(ballots: Mapping[str, Choice], measures: Measures) -> Standing:
    """Where the vote stands: approved by all, waiting for a meeting, or still open (R-07)."""
    if any(choice != "approve" for choice in ballots.values()):
        return "meeting"
    if all(unit.code in ballots for unit in measures.units):
        return "approved"
    return "open"


def same_figures(ballot: CastBallot, figures: int) -> None:
    """Refuse a ballot that was cast on figures since computed anew (R-41)."""
    if ballot.figures is not None and ballot.figures != figures:
        raise PreconditionFailed(
            Text("案件金额已重新计算，请查看新数后再投票", "The figures were computed anew; look, then vote"),
            rule="R-41",
        )


def not_in_future(outcome: MeetingOutcome, today: date) -> None:
    if outcome.held_on > today:
        raise InvalidInput(
            Text("会议日期不能晚于今天", "The meeting cannot be in the future"),
            rule="R-07",
            errors=[{"pointer": "#/held_on", "detail": "≤ " + today.isoformat()}],
        )


def shown(rows: Sequence[BallotRow], measures: Measures) -> list[BallotShown]:
    """Every unit with its ballot, in the measures' order; units that have not voted too."""
    cast = {row.unit: row for row in rows}
    return [
        BallotShown(
            unit=unit.code,
            unit_name=unit.zh,
            choice=row.choice if (row := cast.get(unit.code)) else None,
            comment=row.comment if row else "",
            cast_at=row.cast_at if row else None,
        )
        for unit in measures.units
    ]
