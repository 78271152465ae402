"""An enterprise applies for a loan, to one institution (R-20)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from services.lending import policy
from services.lending.application_row import Application, ApplicationShown, about_application, shown
from services.lending.lender import InstitutionNotActive
from services.lending.renewal import RenewalRefused, renewal_possible
from shared.database import new_id, numbered
from shared.events import LoanApplied, SecurityType
from shared.money import Amount
from shared.outbox import announce
from shared.problems import NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, News, Session, Today, router

steps = router("applications")
Months = Annotated[int, Member(ge=1, le=600, description="Whole months.", examples=[24])]


class ApplyForLoan(BaseModel):
    """An application to one institution. `renews` names a running loan it is to replace (R-26)."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {
                    "institution_id": "0199c4a0-5f5e-7cc3-9d0e-2f1f6f3f7a11",
                    "amount": "3000000.00",
                    "term_months": 24,
                    "security_type": "credit",
                    "purpose": "采购研发设备",
                }
            ]
        },
    )

    institution_id: UUID
    amount: Amount
    term_months: Months
    security_type: SecurityType
    purpose: str = Member(min_length=1, max_length=512)
    renews: UUID | None = None


class NotEligibleToApply(Refusal):
    """The enterprise may not apply today (R-20)."""

    title = Text("企业今天不能申请", "Not eligible to apply")


FACTS = text(
    "SELECT b.name AS enterprise_name, coalesce(b.registered, false) AS registered, "
    "coalesce(b.listed @> CAST(:today AS date), false) AS listed, l.name AS institution_name, "
    "coalesce(l.active @> CAST(:today AS date), false) AS active "
    "FROM (SELECT 1) AS one LEFT JOIN borrower b ON b.uscc = :uscc "
    "LEFT JOIN lender l ON l.institution_id = :institution"
)


async def _facts(session: AsyncSession, news: News, uscc: str, institution: UUID, today: date) -> Row[Any]:
    """What is known of both sides; facts still on their way are waited for."""
    values = {"uscc": uscc, "institution": institution, "today": today}

    async def known() -> Row[Any] | None:
        row = (await session.execute(FACTS, values)).one()
        return row if row.registered and row.institution_name is not None else None

    return await news.wait_for(known) or (await session.execute(FACTS, values)).one()


@steps.post(
    "/v1/applications",
    operation_id="apply_for_loan",
    status_code=201,
    responses=refusals(NotEligibleToApply, InstitutionNotActive, RenewalRefused, NotFound),
)
async def apply_for_loan(
    body: ApplyForLoan, session: Session, who: Caller, today: Today, news: News, response: Response
) -> ApplicationShown:
    """An enterprise on the support list applies to an active institution."""
    uscc = who.party or ""
    known = await _facts(session, news, uscc, body.institution_id, today)
    uphold(policy.may_apply(registered=known.registered, listed=known.listed), NotEligibleToApply)
    if known.institution_name is None:
        raise NotFound(Text("没有这个机构", "No such institution"))
    uphold(policy.institution_active(known.active, today), InstitutionNotActive)
    if body.renews:
        parties = (uscc, body.institution_id)
        await renewal_possible(session, body.renews, parties, body.amount, today)
    number = (await session.execute(select(numbered("A", "application_number", today)))).scalar_one()
    row = Application(
        id=new_id(),
        number=number,
        uscc=uscc,
        enterprise_name=known.enterprise_name,
        institution_name=known.institution_name,
        amount_fen=body.amount,
        applied_on=today,
        **body.model_dump(exclude={"amount"}),
    )
    session.add(row)
    announce(session, LoanApplied(purpose=row.purpose, **about_application(row, today)))
    response.headers["Location"] = f"/v1/applications/{row.id}"
    return shown(row)
