"""A claim as everybody who may see it sees it: its figures and shares, and what they rest on (R-45)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.compensation import institution_year, policy
from services.compensation.claim import (
    DECIDED_FOR,
    MOVES,
    UNDECIDED,
    Ballot,
    Claim,
    Payment,
    Receipt,
    Recovery,
    Trace,
    WriteOff,
)
from services.compensation.covered_loan import CoveredLoan, OverdueReport
from services.compensation.policy import Split
from shared import ballots
from shared.ballots import BallotShown
from shared.identity import Principal
from shared.measures import measures_on
from shared.money import Money, Rate


class LoanFacts(BaseModel):
    """The loan as lending last told it."""

    loan_id: UUID
    number: str
    contract_number: str
    amount: Money
    annual_rate: Rate
    day_count: int
    disbursed_on: date
    matures_on: date
    purpose: str
    outstanding: Money
    interest_received: Money
    overdue_since: date | None


class ReportShown(BaseModel):
    """An overdue report, and whether it was on time (R-31)."""

    report_id: UUID
    overdue_since: date
    reported_on: date
    report_deadline: date
    on_time: bool
    working_days_late: int
    unpaid_principal: Money
    unpaid_interest: Money
    cause: str
    action: str
    cured_on: date | None


class SplitShown(BaseModel):
    """Who bears what of the loss, principal and interest apart, and in sum (R-42, R-43)."""

    fund_principal: Money
    fund_interest: Money
    fund: Money
    guarantor_principal: Money
    guarantor_interest: Money
    guarantor: Money
    institution_principal: Money
    institution_interest: Money
    institution: Money


class Headroom(BaseModel):
    """What the fund may still clear for the institution in the year (R-43)."""

    year: int
    cap: Money
    cleared: Money
    room: Money


class PaymentShown(BaseModel):
    payer: str
    amount: Money
    paid_on: date
    voucher: str


class ReceiptShown(BaseModel):
    """A confirmed share of a recovery; negative: a share of the costs that was paid."""

    party: str
    amount: Money
    received_on: date
    voucher: str


class RecoveryShown(BaseModel):
    """A recovery and how its net was shared; negative shares are owed towards the costs (R-60)."""

    id: UUID
    number: str
    claim_id: UUID
    gross: Money
    costs: Money
    net: Money
    received_on: date
    voucher: str
    state: str
    shared_on: date | None
    fund: Money | None
    guarantor: Money | None
    institution: Money | None
    reverses: UUID | None
    open_for: list[str] = Field(description="Parties whose share is not confirmed yet: fund, guarantor.")
    receipts: list[ReceiptShown]


class WriteOffShown(BaseModel):
    """A write-off; the amounts are as of the request until it is decided (R-61)."""

    id: UUID
    claim_id: UUID
    ground: str
    evidence_number: str
    evidence_date: date
    state: str
    requested_on: date
    fund: Money
    guarantor: Money
    institution: Money
    decided_on: date | None
    reason: str | None


class TraceShown(BaseModel):
    """One thing that happened to the claim."""

    day: date
    move: str
    state: str
    by: str
    facts: dict[str, Any]


class ClaimShown(BaseModel):
    """A claim. Until it is decided, `split` and `cut` are what an approval today would decide."""

    id: UUID
    number: str
    state: str
    moves: list[str] = Field(description="What the state allows next.")
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    guarantor_id: UUID | None
    guarantor_name: str | None
    security_type: str
    measures: str
    overdue_since: date
    submitted_on: date
    claimed_on: date
    figures: int = Field(description="Version of the figures; send it with a ballot.")
    figures_since: date
    principal: Money
    interest: Money
    total: Money
    computed_interest: Money
    statement: str
    split: SplitShown
    cut: Money
    headroom: Headroom | None = Field(description="Not shown to guarantor and enterprise.")
    approved_on: date | None
    payout_due_on: date | None
    payout_late: bool
    paid_on: date | None
    closed_on: date | None
    minutes_number: str | None
    reason: str | None
    credit_recorded_on: date | None
    credit_reference: str | None
    credit_record_open: bool
    loan: LoanFacts
    reports: list[ReportShown]
    ballots: list[BallotShown]
    payments: list[PaymentShown]
    recoveries: list[RecoveryShown]
    write_offs: list[WriteOffShown]
    trace: list[TraceShown]


async def show(
    session: AsyncSession, claim: Claim, loan: CoveredLoan, today: date, who: Principal
) -> ClaimShown:
    """The whole claim, for its parties and the voters."""
    split, cut, headroom = await standing(session, claim, loan, today)
    sees_headroom = who.whose == "all" or who.party == str(claim.institution_id)
    reports = await _all(session, OverdueReport, col(OverdueReport.loan_id) == claim.loan_id)
    cast = await _all(session, Ballot, col(Ballot.case_id) == claim.id)
    paid = await _all(session, Payment, col(Payment.claim_id) == claim.id)
    written = await _all(session, WriteOff, col(WriteOff.claim_id) == claim.id)
    traces = await _all(session, Trace, col(Trace.claim_id) == claim.id)
    return ClaimShown(
        **_same(ClaimShown, claim, but=("split", "cut")),
        moves=MOVES.allowed(claim.state),
        total=claim.loss.total_fen,
        split=split_shown(split),
        cut=cut,
        headroom=headroom if sees_headroom else None,
        payout_late=is_late(claim, today),
        credit_record_open=claim.state in DECIDED_FOR and claim.credit_recorded_on is None,
        loan=LoanFacts(**_same(LoanFacts, loan)),
        reports=[ReportShown(**_same(ReportShown, report)) for report in reports],
        ballots=ballots.shown(cast, measures_on(today)),
        payments=[PaymentShown(**_same(PaymentShown, payment)) for payment in paid],
        recoveries=await recoveries_shown(session, claim),
        write_offs=[write_off_shown(row) for row in written],
        trace=[TraceShown(**_same(TraceShown, row)) for row in traces],
    )


async def standing(
    session: AsyncSession, claim: Claim, loan: CoveredLoan, today: date
) -> tuple[Split, int, Headroom]:
    """The decided shares and cut, or what an approval today would decide; and the year's room (R-43)."""
    year = (claim.approved_on or today).year
    cleared = await institution_year.cleared(session, claim.institution_id, year)
    measures = measures_on(loan.disbursed_on)
    room = policy.headroom(cleared, measures)
    headroom = Headroom(year=year, cap=measures.institution_year_cap_fen, cleared=cleared, room=room)
    if claim.state not in UNDECIDED:
        return claim.split, claim.cut_fen, headroom
    expected = policy.cut_to(claim.split, room)
    return expected, claim.split.fund_fen - expected.fund_fen, headroom


def is_late(claim: Claim, today: date) -> bool:
    """R-47: approved, not paid, and the payout was due before today."""
    due = claim.payout_due_on
    return claim.state == "approved" and due is not None and today > due


def split_shown(split: Split) -> SplitShown:
    """The six shares and the sum of each party."""
    return SplitShown(**_same(SplitShown, split))


async def recoveries_shown(session: AsyncSession, claim: Claim) -> list[RecoveryShown]:
    """The claim's recoveries with their receipts, oldest first."""
    rows = await _all(session, Recovery, col(Recovery.claim_id) == claim.id)
    of_rows = col(Receipt.recovery_id).in_([row.id for row in rows])
    receipts = await _all(session, Receipt, of_rows) if rows else []
    return [recovery_shown(row, [r for r in receipts if r.recovery_id == row.id]) for row in rows]


def recovery_shown(row: Recovery, receipts: Sequence[Receipt]) -> RecoveryShown:
    """One recovery, and whose share stands open."""
    confirmed = {receipt.party for receipt in receipts}
    return RecoveryShown(
        **_same(RecoveryShown, row),
        open_for=[p for p in ("fund", "guarantor") if getattr(row, f"{p}_fen") and p not in confirmed],
        receipts=[ReceiptShown(**_same(ReceiptShown, receipt)) for receipt in receipts],
    )


def write_off_shown(row: WriteOff) -> WriteOffShown:
    return WriteOffShown(**_same(WriteOffShown, row))


async def _all(session: AsyncSession, table: Any, condition: Any) -> Sequence[Any]:
    """The rows of a table in the order of their keys, which is the order of their making."""
    keys = list(table.__table__.primary_key)
    return (await session.execute(select(table).where(condition).order_by(*keys))).scalars().all()


def _same(shape: type[BaseModel], row: Any, but: Sequence[str] = ()) -> dict[str, Any]:
    """The members a row has too (without those `but`), under the same name or, for money, with `_fen`."""
    values = {}
    for name in shape.model_fields:
        for attribute in (f"{name}_fen", name):
            if name not in but and hasattr(row, attribute):
                values[name] = getattr(row, attribute)
                break
    return values
