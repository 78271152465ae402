"""An enterprise applies for a loan, and may withdraw what was not yet lent (R-20)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import BigInteger, CheckConstraint, Index, Numeric, Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field
from starlette.responses import Response

from services.lending import exposure, policy
from services.lending.loan import Table, fen, one_of
from services.lending.shown import facts
from shared.database import new_id, numbered
from shared.events import ApplicationWithdrawn, LoanApplied, SecurityType, Terms
from shared.measures import measures_on
from shared.money import Amount, Money, Rate
from shared.outbox import announce
from shared.problems import NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, News, Session, Today, router
from shared.states import Moves

steps = router("applications")
MOVES = Moves(
    {
        ("applied", "approve"): "approved",
        ("applied", "reject"): "rejected",
        ("applied", "withdraw"): "withdrawn",
        ("approved", "withdraw"): "withdrawn",
        ("approved", "file"): "approved",
        ("approved", "file_last"): "filed",
        ("approved", "lapse"): "lapsed",
    }
)
Months = Annotated[int, Member(ge=1, le=600, description="Whole months.", examples=[12])]


class Application(Table, table=True):
    """An application and what the institution made of it. `unfiled_fen` is approved and not yet filed."""

    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="application_amount"),
        CheckConstraint("approved_amount_fen <= amount_fen", name="application_approved"),
        CheckConstraint(
            "unfiled_fen BETWEEN 0 AND coalesce(approved_amount_fen, 0)", name="application_rest"
        ),
        CheckConstraint(one_of("state", sorted(MOVES.states)), name="application_state"),
        Index("application_of_institution", "institution_id", "id"),
        Index("application_of_enterprise", "uscc", "id"),
        Index("application_lapsing", "lapses_on", postgresql_where=text("state = 'approved'")),
    )

    id: UUID = Field(primary_key=True)
    number: str = Field(unique=True)
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    amount_fen: int = fen()
    term_months: int
    security_type: str
    purpose: str
    renews: UUID | None = None
    state: str = "applied"
    applied_on: date
    decided_on: date | None = None
    approved_amount_fen: int | None = Field(default=None, sa_type=BigInteger)
    approved_rate: Decimal | None = Field(default=None, sa_type=Numeric(6, 4))
    approved_term_months: int | None = None
    approved_security_type: str | None = None
    unfiled_fen: int = fen(default=0)
    lapses_on: date | None = None
    reason: str | None = None


class ApplyForLoan(BaseModel):
    """An application to one institution. `renews` names a running loan it is to replace (R-26)."""

    model_config = ConfigDict(extra="forbid")

    institution_id: UUID
    amount: Amount
    term_months: Months
    security_type: SecurityType
    purpose: str = Member(min_length=1, max_length=500, examples=["采购研发设备"])
    renews: UUID | None = None


class ApplicationShown(BaseModel):
    """An application as its parties see it."""

    id: UUID
    number: str
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    amount: Money
    term_months: int
    security_type: str
    purpose: str
    renews: UUID | None
    state: str
    applied_on: date
    decided_on: date | None
    approved_amount: Money | None
    approved_rate: Rate | None
    approved_term_months: int | None
    approved_security_type: str | None
    unfiled: Money
    lapses_on: date | None
    reason: str | None


class NotEligibleToApply(Refusal):
    """The enterprise may not apply today (R-20)."""

    title = Text("企业今天不能申请", "Not eligible to apply")


class InstitutionNotActive(Refusal):
    """The institution takes no new business on that day (R-11)."""

    title = Text("机构不在合作期", "Institution not active")


class RenewalRefused(Refusal):
    """The loan named cannot be renewed like this (R-26)."""

    title = Text("不能续贷", "Renewal refused")


def shown(row: Application) -> ApplicationShown:
    """The row as its reply."""
    return ApplicationShown(**facts(row))


def terms(row: Application, *, approved: bool) -> Terms:
    """The terms as applied for, or as approved, for an event."""
    return Terms(
        uscc=row.uscc,
        enterprise_name=row.enterprise_name,
        institution_id=row.institution_id,
        institution_name=row.institution_name,
        amount=(row.approved_amount_fen or 0) if approved else row.amount_fen,
        term_months=(row.approved_term_months if approved else None) or row.term_months,
        security_type=(row.approved_security_type if approved else None) or row.security_type,
    )


FACTS = text(
    "SELECT b.name AS enterprise_name, coalesce(b.registered, false) AS registered, "
    "coalesce(b.listed @> CAST(:today AS date), false) AS listed, l.name AS institution_name, "
    "coalesce(l.active @> CAST(:today AS date), false) AS active "
    "FROM (SELECT 1) AS one LEFT JOIN borrower b ON b.uscc = :uscc "
    "LEFT JOIN lender l ON l.institution_id = :institution"
)
RENEWABLE = text(
    "SELECT outstanding_fen, next_due_on FROM loan WHERE id = :id AND uscc = :uscc "
    "AND institution_id = :institution AND state = 'active'"
)


async def renewal_possible(
    session: AsyncSession, renews: UUID, parties: tuple[str, UUID], amount_fen: int, today: date
) -> None:
    """R-26, as far as it can be told before the filing; `parties` are USCC and institution. Raises
    RenewalRefused."""
    values = {"id": renews, "uscc": parties[0], "institution": parties[1]}
    old = (await session.execute(RENEWABLE, values)).one_or_none()
    verdict = policy.may_renew(
        same_parties=old is not None,
        amount_fen=amount_fen,
        outstanding_fen=old.outstanding_fen if old else 0,
        overdue=old is not None and policy.is_overdue(old.next_due_on, today),
    )
    uphold(verdict, RenewalRefused)


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


def about_application(row: Application, today: date, *, approved: bool = False) -> dict[str, Any]:
    """What every event about an application says."""
    return {
        "application_id": row.id,
        "number": row.number,
        "terms": terms(row, approved=approved),
        "business_date": today,
        "measures": measures_on(today).version,
    }


async def locked(session: AsyncSession, application_id: UUID) -> Application | None:
    """The application, locked until the transaction ends."""
    return await session.get(Application, application_id, with_for_update=True)


@steps.post(
    "/v1/applications/{application_id}/withdrawal",
    operation_id="withdraw_application",
    responses=refusals(NotFound, Refusal),
)
async def withdraw_application(
    application_id: UUID, session: Session, who: Caller, today: Today
) -> ApplicationShown:
    """The enterprise withdraws its application, or what is left of the approval; the room is free again."""
    row = await locked(session, application_id)
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    who.only_own(row.uscc)
    row.state = MOVES.after(row.state, "withdraw", rule="R-20")
    await release(session, row)
    announce(session, ApplicationWithdrawn(**about_application(row, today)))
    return shown(row)


async def release(session: AsyncSession, row: Application) -> None:
    """Give back the room of what is approved and not filed (R-24)."""
    await exposure.change(session, {row.uscc: -reserved(row.renews, row.unfiled_fen)})
    row.unfiled_fen = 0


def reserved(renews: UUID | None, unfiled_fen: int) -> int:
    """How much room the unfiled rest of an approval holds: none for a renewal, which counts once."""
    return 0 if renews else unfiled_fen
