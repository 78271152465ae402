"""The project bar (R-50): barred from science projects and rewards after a compensation.

From `ClaimApproved` on, open-ended; from `CompensationPaid` on until the fund's payment and its years;
lifted by `ClaimCancelled`. (Reading: where the fund had nothing to pay, the years run from the day the
payout was complete.) What is kept of a claim is the same whatever order its facts come in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query
from pydantic import BaseModel
from sqlalchemy import Index, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col
from starlette.requests import Request

from services.roster import policy
from services.roster.enterprise import Table
from shared.events import (
    AboutClaim,
    ClaimApproved,
    ClaimCancelled,
    CompensationPaid,
    ProjectBarLifted,
    ProjectBarSet,
)
from shared.measures import measures_on
from shared.outbox import announce
from shared.problems import language_of, refusals
from shared.rules import Text
from shared.service import Caller, Session, Today, router
from shared.uscc import Uscc

steps = router("project eligibility")


class ProjectBar(Table, table=True):
    """What is known of one claim's bar. `until` is the first day without it."""

    __tablename__ = "project_bar"
    __table_args__ = (Index("project_bar_of_enterprise", "uscc"),)

    claim_id: UUID = Field(primary_key=True)
    uscc: str
    name: str
    began_on: date | None = None
    until: date | None = None
    lifted_on: date | None = None


class ProjectEligibility(BaseModel):
    """Whether an enterprise may apply for science projects and rewards on a day."""

    uscc: str
    on: date
    eligible: bool
    reason: str
    barred_until: date | None
    """The first day without the bar; null when eligible, or while its end is open."""


async def _bars(session: AsyncSession, events: Sequence[AboutClaim]) -> dict[UUID, ProjectBar]:
    """The bars of these claims, locked, made where there is none."""
    rows = [{"claim_id": e.claim_id, "uscc": e.uscc, "name": e.enterprise_name} for e in events]
    await session.execute(insert(ProjectBar).on_conflict_do_nothing(), rows)
    ids = [event.claim_id for event in events]
    held = select(ProjectBar).where(col(ProjectBar.claim_id).in_(ids)).order_by(col(ProjectBar.claim_id))
    return {bar.claim_id: bar for bar in (await session.execute(held.with_for_update())).scalars()}


def _about(event: AboutClaim) -> dict[str, Any]:
    return {
        "business_date": event.business_date,
        "measures": event.measures,
        "uscc": event.uscc,
        "name": event.enterprise_name,
        "claim_id": event.claim_id,
    }


async def bar_begins(session: AsyncSession, events: Sequence[ClaimApproved]) -> None:
    """Approved: barred, open-ended until the fund has paid."""
    bars = await _bars(session, events)
    for event in events:
        bar = bars[event.claim_id]
        bar.began_on = event.approved_on
        if bar.until is None and bar.lifted_on is None:
            announce(session, ProjectBarSet(until=None, **_about(event)))


async def bar_gets_its_end(session: AsyncSession, events: Sequence[CompensationPaid]) -> None:
    """Paid: barred until the fund's payment and its years. A payout stands, so its bar does too."""
    bars = await _bars(session, events)
    for event in events:
        bar = bars[event.claim_id]
        measures = measures_on(date.fromisoformat(event.measures))
        paid_on = event.fund_paid_on or event.paid_on
        bar.until, bar.lifted_on = policy.bar_until(paid_on, measures), None
        bar.began_on = bar.began_on or paid_on
        announce(session, ProjectBarSet(until=bar.until, **_about(event)))


async def bar_is_lifted(session: AsyncSession, events: Sequence[ClaimCancelled]) -> None:
    """Cancelled before anything was paid: the bar is lifted (R-49)."""
    bars = await _bars(session, events)
    for event in events:
        bar = bars[event.claim_id]
        if bar.until is None and bar.lifted_on is None:
            bar.lifted_on = event.business_date
            announce(session, ProjectBarLifted(**_about(event)))


@steps.get(
    "/v1/project-eligibility/{uscc}",
    operation_id="get_project_eligibility",
    responses=refusals(),
)
async def get_project_eligibility(
    uscc: Annotated[Uscc, Path()],
    session: Session,
    who: Caller,
    today: Today,
    request: Request,
    on: Annotated[date | None, Query(description="The day asked for; today when left out.")] = None,
) -> ProjectEligibility:
    """May this enterprise apply for science projects and reward policies on a day?"""
    who.only_own(uscc)
    day = on or today
    bars = (await session.execute(select(ProjectBar).where(col(ProjectBar.uscc) == uscc))).scalars().all()
    found = policy.eligibility(bars, day)
    if found.eligible:
        reason = Text("未受限制", "Not barred")
    elif found.until is None:
        reason = Text(
            "企业发生风险代偿，代偿款尚未拨付，限制期未定止",
            "Compensated after a default; the fund has not paid yet, so the bar has no end yet",
        )
    else:
        reason = Text(
            f"企业发生风险代偿，{found.until} 前不得申请科技项目、享受科技奖励政策（M-五(三)）",
            f"Compensated after a default: barred from projects and rewards before {found.until}",
        )
    return ProjectEligibility(
        uscc=uscc,
        on=day,
        eligible=found.eligible,
        reason=reason.say(language_of(request)),
        barred_until=found.until,
    )
