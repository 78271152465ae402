"""What compensation remembers of loans: the contract, the newest position, and the overdue reports.

Heard from lending (R-22, R-25 to R-32); replayable. All facts of a loan share topic and key, so they come
in order; a position is kept only when its version is not older than the one known. End-of-day batches
bring thousands of positions: they are taken in as sets. A loan's row is also what every command about
its claims locks first (docket.py), so that a fact and a command about one loan never pass each other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Numeric, exists, or_, select, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col

from services.compensation.claim import Table
from services.compensation.policy import Contract, Step
from shared.events import (
    AboutLoan,
    LoanCorrected,
    LoanFiled,
    LoanRenewed,
    LoanSettled,
    OverdueCured,
    Position,
    RateExceptionDecided,
    RepaymentOverdue,
    RepaymentReversed,
)
from shared.money import parse_money

Cover = Literal["covered", "pending", "refused"]


class CoveredLoan(Table, table=True):
    """A filed loan as lending last told it. `steps` is [[day, outstanding fen], …]."""

    __tablename__ = "covered_loan"
    __table_args__ = (
        CheckConstraint("cover IN ('covered', 'pending', 'refused')", name="covered_loan_cover"),
        CheckConstraint("state IN ('open', 'settled', 'renewed')", name="covered_loan_state"),
        CheckConstraint("outstanding_fen >= 0 AND amount_fen > 0", name="covered_loan_outstanding"),
        CheckConstraint("interest_received_fen >= 0", name="covered_loan_interest"),
    )

    loan_id: UUID = Field(primary_key=True)
    number: str
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    guarantor_id: UUID | None = None
    guarantor_name: str | None = None
    contract_number: str
    amount_fen: int = Field(sa_type=BigInteger)
    annual_rate: Decimal = Field(sa_type=Numeric(6, 4))
    day_count: int
    disbursed_on: date
    matures_on: date
    security_type: str
    purpose: str
    cover: str
    state: str
    version: int
    outstanding_fen: int = Field(sa_type=BigInteger)
    interest_received_fen: int = Field(sa_type=BigInteger)
    steps: list[list[Any]] = Field(sa_column=Column(JSONB, nullable=False))
    overdue_since: date | None = None

    @property
    def contract(self) -> Contract:
        return Contract(self.annual_rate, self.day_count, self.matures_on)

    @property
    def principal_steps(self) -> list[Step]:
        return [Step(date.fromisoformat(day), fen) for day, fen in self.steps]


class OverdueReport(Table, table=True):
    """An overdue report, and the day what it reported was cured (R-31, R-32)."""

    __tablename__ = "overdue_report"
    __table_args__ = (
        CheckConstraint(
            "least(unpaid_principal_fen, unpaid_interest_fen) >= 0", name="overdue_report_unpaid"
        ),
        Index("overdue_report_of_loan", "loan_id", "reported_on"),
    )

    report_id: UUID = Field(primary_key=True)
    loan_id: UUID
    overdue_since: date
    reported_on: date
    report_deadline: date
    on_time: bool
    working_days_late: int
    unpaid_principal_fen: int = Field(sa_type=BigInteger)
    unpaid_interest_fen: int = Field(sa_type=BigInteger)
    cause: str
    action: str
    cured_on: date | None = None


class LoanUnknown(Exception):
    """A fact about a loan whose filing never came: kept aside as a dead letter, not lost."""


def _steps(position: Position) -> list[list[Any]]:
    return [[step.from_day.isoformat(), step.outstanding] for step in position.steps]


def _cover(status: str) -> Cover:
    known: dict[str, Cover] = {"exception_pending": "pending", "exception_refused": "refused"}
    return known.get(status, "covered")


async def remember_filing(session: AsyncSession, events: Sequence[LoanFiled]) -> None:
    """Keep what was filed (R-25)."""
    same = (
        "loan_id", "number", "uscc", "enterprise_name", "institution_id", "institution_name",
        "guarantor_id", "guarantor_name", "contract_number", "annual_rate", "day_count",
        "disbursed_on", "matures_on", "security_type", "purpose",
    )  # fmt: skip
    rows = [
        {name: getattr(event, name) for name in same}
        | {
            "amount_fen": event.amount,
            "cover": _cover(event.status),
            "state": "open",
            "version": event.position.version,
            "outstanding_fen": event.position.outstanding,
            "interest_received_fen": event.position.interest_received,
            "steps": _steps(event.position),
            "overdue_since": event.position.overdue_since,
        }
        for event in events
    ]
    # Rows as parameters: the statement is compiled once and kept, whatever their number.
    table = CoveredLoan.__table__  # type: ignore[attr-defined]
    await session.execute(insert(table).on_conflict_do_nothing(), rows)


POSITIONS = text(
    "UPDATE covered_loan l SET version = p.version, outstanding_fen = p.outstanding, "
    "interest_received_fen = p.received, steps = p.steps, overdue_since = p.overdue_since, "
    "state = CASE l.state WHEN 'renewed' THEN l.state ELSE coalesce(p.state, l.state) END "
    "FROM unnest(CAST(:ids AS uuid[]), CAST(:versions AS int[]), CAST(:outstanding AS bigint[]), "
    "CAST(:received AS bigint[]), CAST(CAST(:steps AS text[]) AS jsonb[]), "
    "CAST(:overdue AS date[]), CAST(:states AS text[])) "
    "AS p(id, version, outstanding, received, steps, overdue_since, state) "
    "WHERE l.loan_id = p.id AND l.version <= p.version"
)
KNOWN = text("SELECT count(*) FROM covered_loan WHERE loan_id = ANY(CAST(:ids AS uuid[]))")


def _state(event: Any) -> str | None:
    """The state this fact puts the loan into; None: as before."""
    if isinstance(event, LoanSettled):
        return "settled"
    if isinstance(event, LoanRenewed) and event.closed:
        return "renewed"
    return "open" if isinstance(event, RepaymentReversed) and _owed(event.position) else None


def _owed(position: Position) -> bool:
    """Is anything of the loan left to pay? What was paid too much may go back without reopening it."""
    dues = position.dues
    return position.outstanding > 0 or any(due.interest_paid < due.interest for due in dues)


async def remember_position(session: AsyncSession, events: Sequence[Any]) -> None:
    """Keep each loan's newest position (R-27, R-30, R-32); LoanUnknown when its filing never came."""
    newest: dict[UUID, Any] = {}
    for event in events:
        known = newest.get(event.loan_id)
        if known is None or known.position.version <= event.position.version:
            newest[event.loan_id] = event
    ids = list(newest)
    if (await session.execute(KNOWN, {"ids": ids})).scalar_one() != len(ids):
        raise LoanUnknown(f"one of {len(ids)} loans was never filed here")
    latest = [event.position for event in newest.values()]
    await session.execute(
        POSITIONS,
        {
            "ids": ids,
            "versions": [position.version for position in latest],
            "outstanding": [position.outstanding for position in latest],
            "received": [position.interest_received for position in latest],
            "steps": [json.dumps(_steps(position)) for position in latest],
            "overdue": [position.overdue_since for position in latest],
            "states": [_state(event) for event in newest.values()],
        },
    )


async def remember_report(session: AsyncSession, events: Sequence[RepaymentOverdue]) -> None:
    """Keep the reports, for R-40 and for the voters (R-31)."""
    await remember_position(session, events)
    same = (
        "report_id", "loan_id", "overdue_since", "reported_on", "report_deadline", "on_time",
        "working_days_late", "cause", "action",
    )  # fmt: skip
    rows = [
        {name: getattr(event, name) for name in same}
        | {"unpaid_principal_fen": event.unpaid_principal, "unpaid_interest_fen": event.unpaid_interest}
        for event in events
    ]
    await session.execute(insert(OverdueReport).values(rows).on_conflict_do_nothing())


CURED = text("UPDATE overdue_report SET cured_on = :day WHERE loan_id = :loan AND cured_on IS NULL")


async def remember_cure(session: AsyncSession, events: Sequence[OverdueCured]) -> None:
    """The reports of a cured loan tell of an overdue that is over (R-32)."""
    await remember_position(session, events)
    for event in events:
        await session.execute(CURED, {"day": event.cured_on, "loan": event.loan_id})


async def remember_rate_decision(session: AsyncSession, events: Sequence[RateExceptionDecided]) -> None:
    """Accepted: covered from now on; refused: never (R-22)."""
    for event in events:
        loan = await _known(session, event)
        loan.cover = "covered" if event.accepted else "refused"
    await session.flush()


CORRECTED: dict[str, Any] = {
    "annual_rate": ("annual_rate", Decimal),
    "day_count": ("day_count", int),
    "disbursed_on": ("disbursed_on", date.fromisoformat),
    "matures_on": ("matures_on", date.fromisoformat),
    "security_type": ("security_type", str),
    "contract_number": ("contract_number", str),
    "purpose": ("purpose", str),
    "amount": ("amount_fen", parse_money),
}
"""Which corrected figures (R-29) compensation keeps too, in which column, and how their text is read."""


async def remember_correction(session: AsyncSession, events: Sequence[LoanCorrected]) -> None:
    """Keep the corrected figure and the position that follows from it (R-29)."""
    for event in events:
        loan = await _known(session, event)
        if event.field in CORRECTED:
            column, read = CORRECTED[event.field]
            setattr(loan, column, read(event.new))
        await session.flush()
    await remember_position(session, events)


async def _known(session: AsyncSession, event: AboutLoan) -> CoveredLoan:
    loan = await session.get(CoveredLoan, event.loan_id, with_for_update=True, populate_existing=True)
    if loan is None:
        raise LoanUnknown(f"loan {event.loan_id} was never filed here")
    return loan


def reported() -> Any:
    """SQL: the overdue as it stands was reported (R-31). A report counts until what it told of is cured;
    when a reversal undoes the cure, the report of that same D counts again."""
    stands = or_(
        col(OverdueReport.cured_on).is_(None),
        col(OverdueReport.overdue_since) == col(CoveredLoan.overdue_since),
    )
    return exists(select(1).where(col(OverdueReport.loan_id) == col(CoveredLoan.loan_id), stands))


async def hold_loan(session: AsyncSession, loan_id: UUID) -> CoveredLoan:
    """The loan's row as it is now, held until the transaction ends."""
    return await session.get_one(CoveredLoan, loan_id, with_for_update=True, populate_existing=True)
