"""Guarantors: registered by the office, so that a guarantee loan can name an active one (R-13)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import exists, select
from sqlmodel import col
from starlette.responses import Response

from services.roster import policy
from services.roster.exit import TooSoon
from services.roster.institution import GUARANTOR_MOVES, Guarantor, GuarantorShown
from services.roster.working_calendar import working_days
from shared.database import new_id
from shared.events import AboutGuarantor, GuarantorAdmitted, GuarantorExited
from shared.measures import measures_on
from shared.outbox import announce
from shared.problems import IllegalMove, InvalidInput, NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Session, Today, router
from shared.uscc import Uscc

steps = router("guarantors")


class RegisterGuarantor(BaseModel):
    """A guarantor as it is to be known, active from a day on (today when left out)."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    uscc: Uscc
    name: str = Member(min_length=2, max_length=200, examples=["平湖市融资担保有限公司"])
    admitted_on: date | None = None


class GuarantorExit(BaseModel):
    """The first day without new guarantees; left out: the next business day."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"exit_on": "2026-04-01"}]})

    exit_on: date | None = None


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
    if (await session.execute(select(exists().where(col(Guarantor.uscc) == body.uscc)))).scalar_one():
        raise GuarantorKnown(Text(f"{body.uscc} 已登记为担保机构", f"{body.uscc} is registered already"))
    admitted_on = body.admitted_on or today
    if admitted_on > today:
        raise InvalidInput(
            Text("登记生效日不能晚于今天", "The first day cannot be in the future"),
            rule="R-13",
            errors=[{"pointer": "#/admitted_on", "detail": "≤ " + today.isoformat()}],
        )
    row = Guarantor(id=new_id(), uscc=body.uscc, name=body.name, state="active", admitted_on=admitted_on)
    session.add(row)
    await session.flush()
    announce(session, _about(GuarantorAdmitted, row, admitted_on, today))
    response.headers["Location"] = f"/v1/guarantors/{row.id}"
    return GuarantorShown(**row.model_dump())


@steps.post(
    "/v1/guarantors/{guarantor_id}/exit",
    operation_id="exit_guarantor",
    responses=refusals(NotFound, TooSoon, IllegalMove),
)
async def exit_guarantor(
    guarantor_id: UUID, body: GuarantorExit, session: Session, today: Today
) -> GuarantorShown:
    """The office ends a guarantor's part: no new guarantees from the exit date on."""
    row = await session.get(Guarantor, guarantor_id, with_for_update=True)
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    earliest = (await working_days(session)).next_after(today).day
    exit_on = body.exit_on or earliest
    uphold(policy.may_exit(exit_on, earliest), TooSoon, earliest=earliest.isoformat())
    row.state = GUARANTOR_MOVES.after(row.state, "announce_exit", rule="R-13")
    row.exit_on = exit_on
    announce(session, _about(GuarantorExited, row, exit_on, today))
    return GuarantorShown(**row.model_dump())
