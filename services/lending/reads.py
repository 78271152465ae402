"""Questions about loans: SELECTs only, lists as JSON built by the database."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.requests import Request
from starlette.responses import Response

from services.lending.account import Account
from services.lending.account import position as position_of
from services.lending.account_rows import fill
from services.lending.listing import chosen, newest_first, own
from services.lending.loan import Loan, OverdueReport, Repayment
from services.lending.roster_case import RosterCase, RosterCaseShown
from services.lending.shown import (
    DueShown,
    LoanShown,
    OverdueReportShown,
    RepaymentShown,
    loan_shown,
)
from services.lending.working_calendar import warnings, working_days
from shared.events import LoanStatus, PrincipalStep, SecurityType
from shared.money import Money
from shared.pages import Cursor, Limit, Page
from shared.problems import NotFound, refusals
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("loans")


class LoanDetails(LoanShown):
    """A loan with what else is known of it."""

    claim_state: str | None
    """Of the claim on it that was approved, as far as heard from compensation."""
    rate_decision: str | None
    roster_cases: list[RosterCaseShown]
    """Where the roster turned out to say otherwise of the disbursement date, and what the office decided."""
    warnings: list[str]


class Schedule(BaseModel):
    """What is due when, and the principal outstanding by value date."""

    loan_id: UUID
    version: int
    outstanding: Money
    overdue_since: date | None
    dues: list[DueShown]
    steps: list[PrincipalStep]


class LoanFilter(BaseModel):
    """Which loans to list; members left out do not filter."""

    uscc: str | None = None
    institution_id: UUID | None = None
    guarantor_id: UUID | None = None
    application_id: UUID | None = None
    state: LoanStatus | None = None
    security_type: SecurityType | None = None
    long_term: bool | None = None
    first_loan: bool | None = None
    number: str | None = None
    contract_number: str | None = None
    renews: UUID | None = None


@steps.get("/v1/loans", operation_id="list_loans", response_model=Page[LoanShown])
async def list_loans(
    session: Session,
    who: Caller,
    wanted: Annotated[LoanFilter, Query()],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Loans, newest first: an institution's, guarantor's or enterprise's own, or all."""
    where = [*own(who, Loan), *chosen(Loan, wanted)]
    return await newest_first(session, Loan, LoanShown, where, limit, cursor)


@steps.get("/v1/long-term-records", operation_id="list_long_term_records", response_model=Page[LoanShown])
async def list_long_term_records(
    session: Session, who: Caller, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The office's list of loans beyond the ordinary term (R-23), newest first."""
    where = [*own(who, Loan), col(Loan.long_term).is_(True)]
    return await newest_first(session, Loan, LoanShown, where, limit, cursor)


async def loan_of(session: AsyncSession, who: Caller, loan_id: UUID) -> Loan:
    """The loan, if it is the caller's to see. Raises NotFound."""
    loan = await session.get(Loan, loan_id)
    if loan is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    who.only_own(loan.institution_id, loan.uscc, loan.guarantor_id)
    return loan


DETAILS = text(
    "SELECT (SELECT state FROM claim WHERE loan_id = :id AND state <> 'cancelled') AS claim_state, "
    "(SELECT decision FROM rate_exception WHERE loan_id = :id) AS rate_decision"
)


@steps.get("/v1/loans/{loan_id}", operation_id="get_loan", responses=refusals(NotFound))
async def get_loan(loan_id: UUID, session: Session, who: Caller, request: Request) -> LoanDetails:
    """One loan as filed and as it stands."""
    loan = await loan_of(session, who, loan_id)
    more = (await session.execute(DETAILS, {"id": loan_id})).one()
    about_it = select(RosterCase).where(col(RosterCase.loan_id) == loan_id).order_by(col(RosterCase.id))
    cases = (await session.execute(about_it)).scalars()
    years: tuple[int, ...] = ()
    if loan.deadline_provisional and loan.overdue_since and loan.report_deadline:
        calendar = await working_days(session)
        years = calendar.count_between(loan.overdue_since, loan.report_deadline).provisional
    return LoanDetails(
        **dict(loan_shown(loan)),
        claim_state=more.claim_state,
        rate_decision=more.rate_decision,
        roster_cases=[RosterCaseShown.model_validate(case.model_dump()) for case in cases],
        warnings=warnings(request, years),
    )


@steps.get("/v1/loans/{loan_id}/schedule", operation_id="get_schedule", responses=refusals(NotFound))
async def get_schedule(loan_id: UUID, session: Session, who: Caller, today: Today) -> Schedule:
    """What is due when, what of it is paid, and the principal outstanding by value date."""
    held = Account(await loan_of(session, who, loan_id))
    await fill(session, {loan_id: held})
    position = position_of(held.loan, held.dues, held.repaid, today)
    return Schedule(
        loan_id=loan_id,
        version=position.version,
        outstanding=position.outstanding,
        overdue_since=position.overdue_since,
        dues=[DueShown(**dict(due)) for due in position.dues],
        steps=list(position.steps),
    )


@steps.get(
    "/v1/loans/{loan_id}/repayments",
    operation_id="list_repayments",
    response_model=Page[RepaymentShown],
    responses=refusals(NotFound),
)
async def list_repayments(
    loan_id: UUID, session: Session, who: Caller, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The repayments and reversals of a loan, newest first."""
    await loan_of(session, who, loan_id)
    where = [col(Repayment.loan_id) == loan_id]
    return await newest_first(session, Repayment, RepaymentShown, where, limit, cursor)


@steps.get(
    "/v1/loans/{loan_id}/overdue-reports",
    operation_id="list_overdue_reports",
    response_model=Page[OverdueReportShown],
    responses=refusals(NotFound),
)
async def list_overdue_reports(
    loan_id: UUID, session: Session, who: Caller, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The overdue reports of a loan, newest first."""
    await loan_of(session, who, loan_id)
    where = [col(OverdueReport.loan_id) == loan_id]
    return await newest_first(session, OverdueReport, OverdueReportShown, where, limit, cursor)
