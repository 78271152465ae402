"""The loan: its tables, its states, and the moves between them as data (R-22, R-25 to R-27, R-30, R-32)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Index,
    Integer,
    Numeric,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from services.lending.schedule import METHODS
from shared.measures import SECURITY_TYPES
from shared.states import Moves

MOVES = Moves(
    {
        ("exception_pending", "accept_rate"): "active",
        ("exception_pending", "refuse_rate"): "exception_refused",
        ("exception_pending", "record_repayment"): "exception_pending",
        ("exception_pending", "settle"): "settled",
        ("active", "record_repayment"): "active",
        ("active", "fall_overdue"): "overdue",
        ("active", "report_overdue"): "overdue",
        ("active", "settle"): "settled",
        ("active", "renew"): "renewed",
        ("active", "renew_in_part"): "active",
        ("overdue", "record_repayment"): "overdue",
        ("overdue", "report_overdue"): "overdue",
        ("overdue", "cure"): "active",
        ("renewed", "record_repayment"): "renewed",
        ("settled", "reopen"): "active",
    }
)
"""Every move of a loan. A `renewed` loan takes what interest was still owed: it holds no principal."""

STATES = sorted(MOVES.states)
WATCHED = "state IN ('overdue', 'exception_pending')"


def one_of(column: str, values: Iterable[str]) -> str:
    """SQL of a CHECK: the column holds one of these words."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Table(SQLModel, registry=registry()):
    """Lending's own tables."""


def fen(*, default: int | None = None) -> Any:
    """A column of integer fen (bigint)."""
    if default is None:
        return Field(sa_type=BigInteger)
    return Field(default=default, sa_type=BigInteger)


class Loan(Table, table=True):
    """One drawdown as filed, and how it stands now. Amounts in fen, days of Asia/Shanghai."""

    __table_args__ = (
        UniqueConstraint("institution_id", "contract_number", name="loan_contract_number"),
        CheckConstraint("amount_fen > 0", name="loan_amount"),
        CheckConstraint("outstanding_fen BETWEEN 0 AND amount_fen", name="loan_outstanding"),
        CheckConstraint("interest_received_fen >= 0", name="loan_interest"),
        CheckConstraint("matures_on > disbursed_on", name="loan_term"),
        CheckConstraint("(guarantor_id IS NOT NULL) = (security_type = 'guarantee')", name="loan_guarantor"),
        CheckConstraint("(overdue_since IS NOT NULL) = (state = 'overdue')", name="loan_overdue"),
        CheckConstraint("state NOT IN ('settled', 'renewed') OR outstanding_fen = 0", name="loan_closed"),
        CheckConstraint(one_of("state", STATES), name="loan_state"),
        CheckConstraint(one_of("security_type", SECURITY_TYPES), name="loan_security"),
        CheckConstraint(one_of("repayment_method", METHODS), name="loan_method"),
        Index("loan_of_institution", "institution_id", "id"),
        Index("loan_of_enterprise", "uscc", "id"),
        Index("loan_of_guarantor", "guarantor_id", "id", postgresql_where=text("guarantor_id IS NOT NULL")),
        Index("loan_of_application", "application_id"),
        Index("loan_to_watch", "state", "id", postgresql_where=text(WATCHED)),
        Index("loan_long_term", "id", postgresql_where=text("long_term")),
        Index("loan_falling_due", "next_due_on", postgresql_where=text("state = 'active'")),
        Index("loan_renews", "renews", postgresql_where=text("renews IS NOT NULL")),
    )

    id: UUID = Field(primary_key=True)
    number: str = Field(unique=True)
    application_id: UUID = Field(foreign_key="application.id")
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    contract_number: str
    amount_fen: int = fen()
    annual_rate: Decimal = Field(sa_type=Numeric(6, 4))
    day_count: int
    due_day: int
    disbursed_on: date
    matures_on: date
    security_type: str
    guarantor_id: UUID | None = None
    guarantor_name: str | None = None
    repayment_method: str
    purpose: str
    first_loan: bool
    long_term: bool
    renews: UUID | None = None
    renewed_by: UUID | None = None
    renewals: int = 0
    """How many renewals lie behind this loan: 0 for one that renews none (R-26)."""
    reference_tenor: str | None = None
    reference_rate: Decimal | None = Field(default=None, sa_type=Numeric(6, 4))
    rate_reason: str | None = None
    measures: str
    filed_on: date
    state: str
    version: int = 1
    outstanding_fen: int = fen()
    interest_received_fen: int = fen(default=0)
    next_due_on: date | None = None
    """The oldest due date with anything unpaid: once it lies before today it is R-30's D."""
    overdue_since: date | None = None
    report_deadline: date | None = None
    deadline_provisional: bool = False
    settled_on: date | None = None


class Due(Table, table=True):
    """What falls due on one day. `filed_interest_fen` is the contract's figure; `interest_fen` what is
    left of it when principal came back early."""

    __table_args__ = (
        CheckConstraint("principal_paid_fen BETWEEN 0 AND principal_fen", name="due_principal"),
        CheckConstraint("interest_paid_fen BETWEEN 0 AND interest_fen", name="due_interest"),
        CheckConstraint("interest_fen <= filed_interest_fen", name="due_filed_interest"),
    )

    loan_id: UUID = Field(primary_key=True, foreign_key="loan.id")
    due_on: date = Field(primary_key=True)
    principal_fen: int = fen()
    filed_interest_fen: int = fen()
    interest_fen: int = fen()
    principal_paid_fen: int = fen(default=0)
    interest_paid_fen: int = fen(default=0)


class PrincipalStep(Table, table=True):
    """By how much principal fell on a value date: repaid or renewed, less what was reversed."""

    __tablename__ = "principal_step"
    __table_args__ = (CheckConstraint("repaid_fen >= 0", name="principal_step_repaid"),)

    loan_id: UUID = Field(primary_key=True, foreign_key="loan.id")
    from_day: date = Field(primary_key=True)
    repaid_fen: int = fen()


class Repayment(Table, table=True):
    """Money received, by the institution's own reference; a reversal is its negative twin (R-27)."""

    __table_args__ = (
        UniqueConstraint("institution_id", "reference", name="repayment_reference"),
        UniqueConstraint("reverses", name="repayment_reversed_once"),
        CheckConstraint(
            "CASE WHEN reverses IS NULL THEN principal_fen >= 0 AND interest_fen >= 0 "
            "ELSE principal_fen <= 0 AND interest_fen <= 0 END",
            name="repayment_sign",
        ),
        CheckConstraint("principal_fen <> 0 OR interest_fen <> 0", name="repayment_amount"),
        Index("repayment_of_loan", "loan_id", "id"),
    )

    id: UUID = Field(primary_key=True)
    loan_id: UUID = Field(foreign_key="loan.id")
    institution_id: UUID
    reference: str
    principal_fen: int = fen()
    interest_fen: int = fen()
    value_date: date
    recorded_on: date
    reverses: UUID | None = Field(default=None, foreign_key="repayment.id")
    reason: str | None = None


class OverdueReport(Table, table=True):
    """The institution's report of an overdue loan (R-31), one for each D of R-30."""

    __tablename__ = "overdue_report"
    __table_args__ = (
        UniqueConstraint("loan_id", "overdue_since", name="overdue_report_once"),
        CheckConstraint(
            "unpaid_principal_fen >= 0 AND unpaid_interest_fen >= 0", name="overdue_report_unpaid"
        ),
        CheckConstraint(
            "recorded_principal_fen >= 0 AND recorded_interest_fen >= 0", name="overdue_report_recorded"
        ),
        CheckConstraint("working_days_late >= 0", name="overdue_report_late"),
    )

    id: UUID = Field(primary_key=True)
    loan_id: UUID = Field(foreign_key="loan.id")
    overdue_since: date
    reported_on: date
    report_deadline: date
    on_time: bool
    working_days_late: int
    provisional_years: list[int] = Field(sa_type=ARRAY(Integer))
    """Years counted Monday to Friday for want of a holiday plan (R-33)."""
    unpaid_principal_fen: int = fen()
    unpaid_interest_fen: int = fen()
    recorded_principal_fen: int = fen()
    recorded_interest_fen: int = fen()
    cause: str
    action: str
    reported_by: str


class RateException(Table, table=True):
    """The office's decision on a rate above the cap (R-22)."""

    __tablename__ = "rate_exception"
    __table_args__ = (CheckConstraint(one_of("decision", ("accepted", "refused")), name="rate_decision"),)

    loan_id: UUID = Field(primary_key=True, foreign_key="loan.id")
    decision: str
    reason: str
    decided_on: date
    decided_by: str
