"""The office revokes a qualification, or takes a D-class period back (R-05): a new version of the record."""

from __future__ import annotations

from datetime import date
from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.roster import policy, support_list
from services.roster.enterprise import DClassPeriod, Qualification
from shared.clock import Day
from shared.database import new_id
from shared.problems import NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Here, Running, Session, router

steps = router("enterprises")


class Revoke(BaseModel):
    """From which day the record no longer holds, and why. The day may lie in the past or ahead."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [{"from_day": "2026-03-10", "reason": "浙科发高〔2026〕8号 取消资格"}]
        },
    )

    from_day: Day
    reason: str = Member(min_length=2, max_length=500)


class QualificationShown(BaseModel):
    """A qualification as known now; `id` stays the same over its versions."""

    id: UUID
    uscc: str
    category: str
    document_no: str
    certificate_no: str | None
    issued_on: date | None
    valid_from: date
    valid_to: date | None
    revoked_from: date | None
    revocation_reason: str | None
    recorded_on: date


class DClassPeriodShown(BaseModel):
    """A D-class period as known now; `id` stays the same over its versions."""

    id: UUID
    uscc: str
    document_no: str
    issued_on: date | None
    valid_from: date
    valid_to: date | None
    revoked_from: date | None
    revocation_reason: str | None
    recorded_on: date


class NotToBeRevoked(Refusal):
    title = Text("不能撤销", "Not to be revoked")


Record = TypeVar("Record", Qualification, DClassPeriod)
IDS = {"id", "qualification_id", "d_class_period_id"}


def qualification_shown(row: Qualification) -> QualificationShown:
    return QualificationShown(id=row.qualification_id, **row.model_dump(exclude=IDS))


def d_class_period_shown(row: DClassPeriod) -> DClassPeriodShown:
    return DClassPeriodShown(id=row.d_class_period_id, **row.model_dump(exclude=IDS))


@steps.post(
    "/v1/qualifications/{qualification_id}/revocation",
    operation_id="revoke_qualification",
    responses=refusals(NotFound, NotToBeRevoked),
)
async def revoke_qualification(
    qualification_id: UUID, body: Revoke, session: Session, here: Here
) -> QualificationShown:
    """A qualification no longer holds from a day on; the list follows by itself."""
    query = select(Qualification).where(col(Qualification.qualification_id) == qualification_id)
    current = query.where(col(Qualification.superseded_on).is_(None))
    old = (await session.execute(current)).scalar_one_or_none()
    new = await _revoke(session, Qualification, old, body, here, "revocation")
    return qualification_shown(new)


@steps.post(
    "/v1/d-class-periods/{d_class_period_id}/revocation",
    operation_id="revoke_d_class_period",
    responses=refusals(NotFound, NotToBeRevoked),
)
async def revoke_d_class_period(
    d_class_period_id: UUID, body: Revoke, session: Session, here: Here
) -> DClassPeriodShown:
    """A D-class period ends before its time, or was never right; the list follows by itself."""
    query = select(DClassPeriod).where(col(DClassPeriod.d_class_period_id) == d_class_period_id)
    current = query.where(col(DClassPeriod.superseded_on).is_(None))
    old = (await session.execute(current)).scalar_one_or_none()
    new = await _revoke(session, DClassPeriod, old, body, here, "d_class_end")
    return d_class_period_shown(new)


async def _revoke(
    session: AsyncSession, kind: type[Record], old: Record | None, body: Revoke, here: Running, cause: str
) -> Record:
    """Supersede the record by a version that ends before `from_day`; the list follows."""
    if old is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    await support_list.lock(session, [old.uscc])
    await session.refresh(old)
    revoked = old.revoked_from is not None or old.superseded_on is not None
    verdict = policy.may_revoke(from_day=body.from_day, valid_to=old.valid_to, revoked=revoked)
    uphold(verdict, NotToBeRevoked)
    today, now = here.clock.today(), here.clock.now()
    kept = old.model_dump(exclude={"days", "id"})
    old.superseded_on, old.superseded_at = today, now
    await session.flush()
    changed = {"revoked_from": body.from_day, "revocation_reason": body.reason}
    new = kind(**kept | changed | {"id": new_id(), "recorded_on": today, "recorded_at": now})
    session.add(new)
    await support_list.relist(session, old.uscc, cause, old.document_no, today, now)
    return new
