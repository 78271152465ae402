"""The institution approves or rejects; what it approves is reserved under the ceiling (R-21, R-24)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.lending import exposure, policy
from services.lending.application import Months
from services.lending.application_row import (
    MOVES,
    Application,
    ApplicationShown,
    about_application,
    locked,
    reserved,
    shown,
)
from services.lending.exposure import CeilingExceeded
from services.lending.lender import InstitutionNotActive
from services.lending.renewal import RenewalRefused, renewal_possible
from shared.events import LoanApproved, LoanRejected, SecurityType
from shared.measures import measures_on
from shared.money import Amount, Rate
from shared.outbox import announce
from shared.problems import IllegalMove, NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("applications")
ACTIVE = text("SELECT active @> CAST(:day AS date) FROM lender WHERE institution_id = :id")


class Approve(BaseModel):
    """What the institution approves. `renews` names the running loan it is to replace (R-26)."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {
                    "amount": "3000000.00",
                    "annual_rate": "3.4500",
                    "term_months": 24,
                    "security_type": "credit",
                }
            ]
        },
    )

    amount: Amount
    annual_rate: Rate
    term_months: Months
    security_type: SecurityType
    renews: UUID | None = None


class Reject(BaseModel):
    """Why the institution rejects."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {
                    "reason": "现金流不足以按期还款",
                },
            ],
        },
    )

    reason: str = Member(min_length=1, max_length=512)


class MoreThanAppliedFor(Refusal):
    """The institution approves more than was applied for (R-21)."""

    title = Text("超过申请金额", "More than applied for")


@steps.post(
    "/v1/applications/{application_id}/approval",
    operation_id="approve_application",
    responses=refusals(
        MoreThanAppliedFor, CeilingExceeded, InstitutionNotActive, RenewalRefused, IllegalMove, NotFound
    ),
)
async def approve_application(
    application_id: UUID, body: Approve, session: Session, who: Caller, today: Today
) -> ApplicationShown:
    """Approve: the amount is reserved under the enterprise's ceiling until it is filed or lapses."""
    row = await _own(session, application_id, who)
    row.state = MOVES.after(row.state, "approve", rule="R-21")
    await _institution_active(session, row.institution_id, today)
    verdict = policy.within_application(approved_fen=body.amount, applied_fen=row.amount_fen)
    uphold(verdict, MoreThanAppliedFor)
    row.renews = body.renews or row.renews
    if row.renews:
        parties = (row.uscc, row.institution_id)
        await renewal_possible(session, row.renews, parties, body.amount, today)
    measures = measures_on(today)
    await exposure.reserve(session, row.uscc, reserved(row.renews, body.amount), measures)
    row.decided_on = today
    row.lapses_on = policy.lapses_on(today, measures)
    row.approved_amount_fen = row.unfiled_fen = body.amount
    row.approved_rate = body.annual_rate
    row.approved_term_months = body.term_months
    row.approved_security_type = body.security_type
    about_it = about_application(row, today, approved=True)
    announce(session, LoanApproved(annual_rate=body.annual_rate, lapses_on=row.lapses_on, **about_it))
    return shown(row)


@steps.post(
    "/v1/applications/{application_id}/rejection",
    operation_id="reject_application",
    responses=refusals(IllegalMove, NotFound),
)
async def reject_application(
    application_id: UUID, body: Reject, session: Session, who: Caller, today: Today
) -> ApplicationShown:
    """Reject, with the reason the enterprise will read."""
    row = await _own(session, application_id, who)
    row.state = MOVES.after(row.state, "reject", rule="R-21")
    row.decided_on, row.reason = today, body.reason
    announce(session, LoanRejected(reason=body.reason, **about_application(row, today)))
    return shown(row)


async def _own(session: AsyncSession, application_id: UUID, who: Caller) -> Application:
    row = await locked(session, application_id)
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    who.only_own(row.institution_id)
    return row


async def _institution_active(session: AsyncSession, institution_id: UUID, today: date) -> None:
    found = await session.execute(ACTIVE, {"id": institution_id, "day": today})
    uphold(policy.institution_active(bool(found.scalar_one_or_none()), today), InstitutionNotActive)
