"""A listed enterprise registers, and is shown once the code that makes its account (R-08)."""

from __future__ import annotations

import hashlib
import secrets
from datetime import date
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.roster import policy
from services.roster.enterprise import Table, personal
from shared import audit
from shared.database import new_id
from shared.events import EnterpriseRegistered
from shared.measures import measures_on
from shared.outbox import announce
from shared.problems import NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Session, Today, router
from shared.uscc import Uscc

steps = router("registrations")
MASK = "***"


class Registration(Table, table=True):
    """An enterprise that has an account, or has the code to make one. The code itself is not kept."""

    id: UUID = Field(primary_key=True)
    uscc: str = Field(unique=True, foreign_key="enterprise.uscc")
    name: str
    contact: str = personal()
    legal_representative: str = personal()
    phone: str = personal()
    registered_on: date


class RegisterEnterprise(BaseModel):
    """Who the enterprise is and whom to call there."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    uscc: Uscc
    contact: str = Member(min_length=1, max_length=100, examples=["李会计"])
    legal_representative: str = Member(min_length=1, max_length=100, examples=["陈某某"])
    phone: str = Member(pattern=r"^[0-9+() -]{7,30}$", examples=["0573-85012345"])


class RegistrationShown(BaseModel):
    """A registration; personal data is masked except for the enterprise itself."""

    id: UUID
    uscc: str
    name: str
    contact: str
    legal_representative: str
    phone: str
    registered_on: date


class Registered(BaseModel):
    """The registration, with the code that makes the account: shown this once, for whoever registered."""

    id: UUID
    uscc: str
    name: str
    registered_on: date
    activation_code: str | None


class DisclosePersonalData(BaseModel):
    """Why the personal data of a registration is to be read; kept in the audit log."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    reason: str = Member(min_length=2, max_length=500, examples=["电话通知贷款材料补正"])


class NotOnTheList(Refusal):
    title = Text("企业今天不在支持名单内", "Not on the support list today")


class AlreadyRegistered(Refusal):
    title = Text("该企业已注册", "This enterprise is registered")
    rule = "R-08"
    article = "M-二(二)"


FACTS = text(
    """
    SELECT e.name, coalesce(e.listed @> CAST(:today AS date), false) AS listed,
           EXISTS (SELECT FROM qualification q WHERE q.uscc = one.uscc AND q.superseded_on IS NULL
                   AND q.days @> CAST(:today AS date)) AS qualified,
           EXISTS (SELECT FROM d_class_period d WHERE d.uscc = one.uscc AND d.superseded_on IS NULL
                   AND d.days @> CAST(:today AS date)) AS d_class,
           EXISTS (SELECT FROM registration r WHERE r.uscc = one.uscc) AS registered
    FROM (SELECT CAST(:uscc AS text) AS uscc) AS one LEFT JOIN enterprise e ON e.uscc = one.uscc
    """
)


@steps.post(
    "/v1/registrations",
    operation_id="register_enterprise",
    status_code=201,
    responses=refusals(NotOnTheList, AlreadyRegistered),
)
async def register_enterprise(
    body: RegisterEnterprise, session: Session, today: Today, request: Request, response: Response
) -> Registered:
    """Register an enterprise that is on the support list today. The answer holds the activation code,
    once; with it the enterprise sets up its account."""
    known = (await session.execute(FACTS, {"uscc": body.uscc, "today": today})).one()
    uphold(policy.may_register(qualified=known.qualified, d_class=known.d_class), NotOnTheList)
    if known.registered:
        raise AlreadyRegistered(
            Text("如遗失账户，请联系联席会议办公室", "If the account was lost, ask the conference's office")
        )
    row = Registration(id=new_id(), name=known.name, registered_on=today, **body.model_dump())
    session.add(row)
    await session.flush()
    shown = _with_code(session, row, today, request)
    response.headers["Location"] = f"/v1/registrations/{row.id}"
    return shown


def _with_code(session: AsyncSession, row: Registration, today: date, request: Request) -> Registered:
    """Announce a new code's hash and show the code; what is kept for a repeat does not have it."""
    code = secrets.token_urlsafe(16)
    announce(
        session,
        EnterpriseRegistered(
            business_date=today,
            measures=measures_on(today).version,
            uscc=row.uscc,
            name=row.name,
            registration_id=row.id,
            activation=hashlib.sha256(code.encode()).hexdigest(),
        ),
    )
    told: dict[str, Any] = row.model_dump(include={"id", "uscc", "name", "registered_on"})
    kept = Registered(activation_code=None, **told).model_dump(mode="json")
    request.state.answer_to_keep = JSONResponse(kept, 201, {"Location": f"/v1/registrations/{row.id}"})
    return Registered(activation_code=code, **told)


@steps.post(
    "/v1/registrations/{registration_id}/disclosure",
    operation_id="disclose_registration",
    responses=refusals(NotFound),
)
async def disclose_registration(
    registration_id: UUID, body: DisclosePersonalData, session: Session, request: Request
) -> RegistrationShown:
    """The office reads a registration's personal data, for a reason: who read what and why is audited."""
    row = await session.get(Registration, registration_id)
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    audit.note(session, str(row.id), table="registration", disclosed=True, reason=body.reason)
    masked = RegistrationShown(**masked_of(row)).model_dump(mode="json")
    request.state.answer_to_keep = JSONResponse(masked, 200)
    return RegistrationShown(**row.model_dump())


def masked_of(row: Registration) -> dict[str, Any]:
    """A registration without its personal data."""
    return row.model_dump() | {"contact": MASK, "legal_representative": MASK, "phone": MASK}
