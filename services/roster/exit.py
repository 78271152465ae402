"""An institution leaves, by its own notice or by the conference's decision (R-11)."""

from __future__ import annotations

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.requests import Request

from services.roster import policy
from services.roster.institution import GUARANTOR_MOVES, MOVES, Guarantor, Institution, InstitutionShown
from services.roster.working_calendar import working_days
from shared.calendar import calendar_warning
from shared.clock import Day
from shared.events import InstitutionExited
from shared.identity import Principal
from shared.measures import measures_on
from shared.outbox import announce
from shared.problems import IllegalMove, InvalidInput, NotFound, Refusal, language_of, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("institutions")
Cause = Literal["own_notice", "conference_decision"]


class GiveExit(BaseModel):
    """The exit date, the first day without new business; left out: the next business day. The office
    names the minutes of the conference's decision."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"exit_on": "2026-04-01", "reason": "业务调整"}]},
    )

    exit_on: Day | None = None
    reason: str = Member(default="", max_length=1000)
    minutes_number: str | None = Member(default=None, min_length=1, max_length=100)


class ExitShown(InstitutionShown):
    """The institution with its exit date; `warning` when the working calendar of a year is not known."""

    warning: str | None


class ExitDateNotPossible(Refusal):
    title = Text("退出日不可行", "The exit date is not possible")


async def exit_date(
    session: AsyncSession, wanted: date | None, announced: date | None, today: date, request: Request
) -> tuple[date, str | None]:
    """The exit date (the next business day when none is wanted), and the warning when it was judged by a
    year without a plan (R-11, R-33). Raises ExitDateNotPossible."""
    earliest = (await working_days(session)).next_after(today)
    unknown = earliest.provisional
    warning = calendar_warning(unknown).say(language_of(request)) if unknown else None
    exit_on = wanted or earliest.day
    verdict = policy.may_exit(exit_on, earliest.day, announced)
    uphold(verdict, ExitDateNotPossible, earliest=earliest.day.isoformat(), warning=warning)
    return exit_on, warning


def _cause(who: Principal, body: GiveExit) -> Cause:
    if "institution" in who.roles:
        return "own_notice"
    if body.minutes_number is None:
        raise InvalidInput(
            Text("按联席会议决定办理退出，须填写纪要编号", "Name the minutes of the conference's decision"),
            rule="R-11",
            errors=[{"pointer": "#/minutes_number", "detail": Text("必填", "is required")}],
        )
    return "conference_decision"


@steps.post(
    "/v1/institutions/{institution_id}/exit",
    operation_id="exit_institution",
    responses=refusals(NotFound, ExitDateNotPossible, IllegalMove),
)
async def exit_institution(
    institution_id: UUID, body: GiveExit, session: Session, who: Caller, today: Today, request: Request
) -> ExitShown:
    """An institution gives notice, or the office records the conference's decision that it leaves. From
    the exit date on it takes no new business; loans filed before stay covered. An exit that is announced
    can be brought forward, by either."""
    who.only_own(institution_id)
    row = await session.get(Institution, institution_id, with_for_update=True)
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    cause = _cause(who, body)
    state = MOVES.after(row.state, "announce_exit", rule="R-11")
    exit_on, warning = await exit_date(session, body.exit_on, row.exit_on, today, request)
    row.state, row.exit_on, row.exit_cause = state, exit_on, cause
    row.exit_reason, row.exit_minutes_number = body.reason or None, body.minutes_number
    announce(
        session,
        InstitutionExited(
            business_date=today,
            measures=measures_on(today).version,
            institution_id=row.id,
            name=row.name,
            effective_on=exit_on,
            cause=cause,
        ),
    )
    return ExitShown(warning=warning, **row.model_dump())


async def complete_exits(session: AsyncSession, day: date) -> None:
    """Institutions and guarantors whose exit date has come are `exited`."""
    leaving = col(Institution.state) == "leaving", col(Institution.exit_on) <= day
    for row in (await session.execute(select(Institution).where(*leaving).with_for_update())).scalars():
        row.state = MOVES.after(row.state, "exit", rule="R-11")
    ending = col(Guarantor.state) == "leaving", col(Guarantor.exit_on) <= day
    for one in (await session.execute(select(Guarantor).where(*ending).with_for_update())).scalars():
        one.state = GUARANTOR_MOVES.after(one.state, "exit", rule="R-13")
