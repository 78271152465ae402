"""Guarantors: registered by the office, so that a guarantee loan can name an active one (R-13)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import select
from sqlmodel import col
from starlette.requests import Request
from starlette.responses import Response

from services.roster.exit import ExitDateNotPossible, exit_date
from services.roster.institution import GUARANTOR_MOVES, Guarantor, GuarantorShown
from shared.clock import Day
from shared.database import new_id
from shared.events import AboutGuarantor, GuarantorAdmitted, GuarantorExited
from shared.measures import measures_on
from shared.outbox import announce
from shared.problems import IllegalMove, InvalidInput, NotFound, Refusal, refusals
from shared.rules import Text
from shared.service import Session, Today, router
from shared.uscc import Uscc

steps = router("guarantors")


class RegisterGuarantor(BaseModel):
    """A guarantor as it is to be known, active from a day on (today when left out)."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    uscc: Uscc
    name: str = Member(min_length=2, max_length=200, examples=["平湖市融资担保有限公司"])
    admitted_on: Day | None = None


class GuarantorExit(BaseModel):
    """The first day without new guarantees; left out: the next business day."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"exit_on": "2026-04-01"}]})

    exit_on: Day | None = None


class GuarantorExitShown(GuarantorShown):
    """The guarantor with its exit date; `warning` when the working calendar of a year is not known."""

    warning: str | None


class GuarantorKnown(Refusal):
    title = Text("该担保机构已登记", "This guarantor is registered")
    rule = "R-13"
    article = "M-五(二)"


def _about(kind: type[AboutGuarantor], row: Guarantor, effective_on: date, today: date) -> AboutGuarantor:
    return kind(
        business_date=today,
        measures=measures_on(today).version,
        guarantor_id=row.id,
        name=row.name,
        effective_on=effective_on,
    )


@steps.post(
    "/v1/guarantors",
    operation_id="register_guarantor",
    status_code=201,
    responses=refusals(GuarantorKnown),
)
async def register_guarantor(
    body: RegisterGuarantor, session: Session, today: Today, response: Response
) -> GuarantorShown:
    """The office registers a guarantor; its id is the party its people act for."""
    admitted_on = body.admitted_on or today
    if admitted_on > today:
        raise InvalidInput(
            Text("登记生效日不能晚于今天", "The first day cannot be in the future"),
            rule="R-13",
            errors=[{"pointer": "#/admitted_on", "detail": "≤ " + today.isoformat()}],
        )
    query = select(Guarantor).where(col(Guarantor.uscc) == body.uscc).with_for_update()
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        row = Guarantor(id=new_id(), uscc=body.uscc, name=body.name, state="active", admitted_on=admitted_on)
        session.add(row)
    else:
        _come_back(row, body, admitted_on)
    await session.flush()
    announce(session, _about(GuarantorAdmitted, row, admitted_on, today))
    response.headers["Location"] = f"/v1/guarantors/{row.id}"
    return GuarantorShown(**row.model_dump())


def _come_back(row: Guarantor, body: RegisterGuarantor, admitted_on: date) -> None:
    """One that has left is registered anew, under its id. Raises GuarantorKnown for one that has not."""
    if row.state != "exited" or row.exit_on is None:
        raise GuarantorKnown(Text(f"{body.uscc} 已登记为担保机构", f"{body.uscc} is registered already"))
    if admitted_on < row.exit_on:
        raise InvalidInput(
            Text("登记生效日不能早于上次退出日", "The first day cannot be before its last exit"),
            rule="R-13",
            errors=[{"pointer": "#/admitted_on", "detail": "≥ " + row.exit_on.isoformat()}],
        )
    row.state = GUARANTOR_MOVES.after(row.state, "admit", rule="R-13")
    row.name, row.admitted_on, row.exit_on = body.name, admitted_on, None


@steps.post(
    "/v1/guarantors/{guarantor_id}/exit",
    operation_id="exit_guarantor",
    responses=refusals(NotFound, ExitDateNotPossible, IllegalMove),
)
async def exit_guarantor(
    guarantor_id: UUID, body: GuarantorExit, session: Session, today: Today, request: Request
) -> GuarantorExitShown:
    """The office ends a guarantor's part: no new guarantees from the exit date on. An exit that is
    announced can be brought forward."""
    row = await session.get(Guarantor, guarantor_id, with_for_update=True)
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    state = GUARANTOR_MOVES.after(row.state, "announce_exit", rule="R-13")
    exit_on, warning = await exit_date(session, body.exit_on, row.exit_on, today, request)
    row.state, row.exit_on = state, exit_on
    announce(session, _about(GuarantorExited, row, exit_on, today))
    return GuarantorExitShown(warning=warning, **row.model_dump())
