"""How a loan, its dues, repayments and reports look in answers: one shape for replies and lists."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Numeric, cast
from sqlalchemy import Text as SqlText

from services.lending.loan import Loan, OverdueReport, Repayment, Table
from shared.database import yuan
from shared.events import LoanStatus
from shared.money import Money, Rate


class LoanShown(BaseModel):
    """A loan as filed and as it stands."""

    id: UUID
    number: str
    application_id: UUID
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    contract_number: str
    amount: Money
    annual_rate: Rate
    day_count: int
    due_day: int
    disbursed_on: date
    matures_on: date
    security_type: str
    guarantor_id: UUID | None
    guarantor_name: str | None
    repayment_method: str
    purpose: str
    first_loan: bool
    long_term: bool
    renews: UUID | None
    renewed_by: UUID | None
    renewals: int
    reference_tenor: str | None
    reference_rate: Rate | None
    rate_reason: str | None
    measures: str
    filed_on: date
    state: LoanStatus
    version: int
    outstanding: Money
    interest_received: Money
    next_due_on: date | None
    overdue_since: date | None
    report_deadline: date | None
    deadline_provisional: bool
    settled_on: date | None


class RepaymentShown(BaseModel):
    """Money received, or its reversal; `reverses` names the repayment a reversal undoes."""

    id: UUID
    loan_id: UUID
    reference: str
    principal: Money
    interest: Money
    value_date: date
    recorded_on: date
    reverses: UUID | None
    reason: str | None


class OverdueReportShown(BaseModel):
    """A report of an overdue loan: what the institution states, and what the record says beside it."""

    id: UUID
    loan_id: UUID
    overdue_since: date
    reported_on: date
    report_deadline: date
    on_time: bool
    working_days_late: int
    provisional_years: list[int]
    unpaid_principal: Money
    unpaid_interest: Money
    recorded_principal: Money
    recorded_interest: Money
    cause: str
    action: str


class DueShown(BaseModel):
    """What falls due on one day and what of it is paid."""

    due_on: date
    principal: Money
    interest: Money
    principal_paid: Money
    interest_paid: Money


def facts(row: Table) -> dict[str, Any]:
    """The row's members under their names in answers: `amount_fen` is `amount`."""
    return {name.removesuffix("_fen"): value for name, value in row.model_dump().items()}


def loan_shown(loan: Loan) -> LoanShown:
    return LoanShown(**{k: v for k, v in facts(loan).items() if k in LoanShown.model_fields})


def repayment_shown(row: Repayment) -> RepaymentShown:
    return RepaymentShown(**{k: v for k, v in facts(row).items() if k in RepaymentShown.model_fields})


def report_shown(row: OverdueReport) -> OverdueReportShown:
    return OverdueReportShown(**{k: v for k, v in facts(row).items() if k in OverdueReportShown.model_fields})


def columns(table: type[Table], model: type[BaseModel]) -> list[ColumnElement[Any]]:
    """The columns of `model`'s members, amounts and rates as strings, for JSON built by the database."""
    found: list[ColumnElement[Any]] = []
    for member in model.model_fields:
        stored = table.__table__.c  # type: ignore[attr-defined]
        if member in stored:
            column = stored[member]
            is_rate = isinstance(column.type, Numeric)
            found.append(cast(column, SqlText).label(member) if is_rate else column)
        else:
            found.append(yuan(stored[f"{member}_fen"]).label(member))
    return found
