"""The institution reports an overdue loan to the office within five working days (R-30, R-31)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.requests import Request
from starlette.responses import Response

from services.lending import account_rows, policy
from services.lending.account import Account, about
from services.lending.loan import OverdueReport
from services.lending.overdue_day import begin_overdue
from services.lending.posting import MoreThanOutstanding
from services.lending.schedule import unpaid_overdue
from services.lending.shown import OverdueReportShown, report_shown
from services.lending.working_calendar import warnings, working_days
from shared.calendar import WorkingDays
from shared.clock import Day
from shared.database import new_id
from shared.events import RepaymentOverdue
from shared.measures import measures_on
from shared.money import NonNegative, format_money
from shared.outbox import announce
from shared.problems import IllegalMove, NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("overdue")


class ReportOverdue(BaseModel):
    """What the institution reports. What it leaves out of the amounts is taken from the record;
    `overdue_since` may state the day D the count starts from."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"cause": "主要客户回款延迟", "action": "已上门催收，协商还款计划"}]},
    )

    cause: str = Field(min_length=1, max_length=2048)
    action: str = Field(min_length=1, max_length=2048)
    unpaid_principal: NonNegative | None = None
    unpaid_interest: NonNegative | None = None
    overdue_since: Day | None = None


class OverdueReported(OverdueReportShown):
    """The report on record; `warnings` when its deadline rests on a year without a holiday plan (R-33)."""

    warnings: list[str]


class NotOverdue(Refusal):
    """By the record nothing is overdue, or not since the day stated (R-30)."""

    title = Text("没有逾期", "Not overdue")


class ReportedAlready(Refusal):
    """This overdue day was reported already (R-31)."""

    rule = "R-31"
    article = "M-七(一)"
    title = Text("已报告过", "Reported already")


@steps.post(
    "/v1/loans/{loan_id}/overdue-reports",
    operation_id="report_overdue",
    status_code=201,
    responses=refusals(NotOverdue, ReportedAlready, MoreThanOutstanding, IllegalMove, NotFound),
)
async def report_overdue(
    loan_id: UUID,
    body: ReportOverdue,
    session: Session,
    who: Caller,
    today: Today,
    request: Request,
    response: Response,
) -> OverdueReported:
    """Report an overdue loan. A late report is accepted and marked with the working days it is late."""
    held = (await account_rows.load(session, [loan_id])).get(loan_id)
    if held is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    who.only_own(held.loan.institution_id)
    since = _overdue_since(held, body, today)
    await _first_report(session, loan_id, since)
    calendar = await working_days(session)
    begin_overdue(held, "report_overdue", today, calendar)
    row = _report(held, body, today, calendar)
    row.reported_by = who.name
    session.add(row)
    _announce(session, held, row, today)
    response.headers["Location"] = f"/v1/loans/{loan_id}/overdue-reports"
    shown = report_shown(row)
    return OverdueReported(**dict(shown), warnings=warnings(request, tuple(row.provisional_years)))


def _overdue_since(held: Account, body: ReportOverdue, today: date) -> date:
    """D of R-30. Raises NotOverdue, with D where another day was stated."""
    since = held.overdue_since(today)
    late = [due.due_on for due in held.dues if due.due_on < today and not due.paid]
    verdict = policy.overdue_as_stated(on_record=since, stated=body.overdue_since, unpaid=late)
    uphold(verdict, NotOverdue, overdue_since=since.isoformat() if since else None)
    assert since is not None
    if body.unpaid_principal is not None:
        outstanding_fen = held.loan.outstanding_fen
        within = policy.within_loan(unpaid_fen=body.unpaid_principal, outstanding_fen=outstanding_fen)
        uphold(within, MoreThanOutstanding, outstanding=format_money(outstanding_fen))
    return since


async def _first_report(session: AsyncSession, loan_id: UUID, since: date) -> None:
    """One report for each D. Raises ReportedAlready."""
    query = select(col(OverdueReport.reported_on)).where(
        col(OverdueReport.loan_id) == loan_id, col(OverdueReport.overdue_since) == since
    )
    reported_on = (await session.execute(query)).scalar_one_or_none()
    if reported_on is not None:
        raise ReportedAlready(
            Text(
                f"自 {since} 起的逾期已于 {reported_on} 报告过",
                f"The overdue since {since} was reported on {reported_on}",
            )
        )


def _report(held: Account, body: ReportOverdue, today: date, calendar: WorkingDays) -> OverdueReport:
    loan = held.loan
    assert loan.overdue_since is not None
    measures = measures_on(loan.disbursed_on)
    lateness = policy.report_lateness(loan.overdue_since, today, measures, calendar)
    principal, interest = unpaid_overdue(held.dues, today)
    stated = (body.unpaid_principal, body.unpaid_interest)
    return OverdueReport(
        id=new_id(),
        loan_id=loan.id,
        overdue_since=loan.overdue_since,
        reported_on=today,
        report_deadline=lateness.deadline,
        on_time=lateness.on_time,
        working_days_late=lateness.working_days_late,
        provisional_years=list(lateness.provisional),
        unpaid_principal_fen=principal if stated[0] is None else stated[0],
        unpaid_interest_fen=interest if stated[1] is None else stated[1],
        recorded_principal_fen=principal,
        recorded_interest_fen=interest,
        cause=body.cause,
        action=body.action,
        reported_by="",
    )


def _announce(session: AsyncSession, held: Account, row: OverdueReport, today: date) -> None:
    event = RepaymentOverdue(
        report_id=row.id,
        overdue_since=row.overdue_since,
        reported_on=row.reported_on,
        report_deadline=row.report_deadline,
        on_time=row.on_time,
        working_days_late=row.working_days_late,
        unpaid_principal=row.unpaid_principal_fen,
        unpaid_interest=row.unpaid_interest_fen,
        cause=row.cause,
        action=row.action,
        position=held.next_position(today),
        **about(held.loan, today),
    )
    announce(session, event)
