"""The claim: its tables, its states, and the moves between them as data.

Invariants the database holds too: one live claim per loan (R-40), shares that add up to the loss (R-42),
one ballot per unit (R-45), one payment per payer (R-47), shares of a recovery that add up to its net
(R-60), one write-off per claim (R-61). Amounts are integer fen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    UniqueConstraint,
    delete,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col

from services.compensation.policy import Loss, Parts, Split
from shared.ballots import BallotRow
from shared.database import new_id
from shared.states import Moves

MOVES = Moves(
    {
        ("submitted", "call_meeting"): "meeting",
        ("meeting", "call_off_meeting"): "submitted",
        ("submitted", "recompute"): "submitted",
        ("meeting", "recompute"): "submitted",
        ("returned", "recompute"): "returned",
        ("submitted", "return"): "returned",
        ("meeting", "return"): "returned",
        ("returned", "resubmit"): "submitted",
        ("submitted", "withdraw"): "withdrawn",
        ("meeting", "withdraw"): "withdrawn",
        ("returned", "withdraw"): "withdrawn",
        ("submitted", "lapse"): "lapsed",
        ("meeting", "lapse"): "lapsed",
        ("returned", "lapse"): "lapsed",
        ("submitted", "approve"): "approved",
        ("meeting", "approve"): "approved",
        ("meeting", "decline"): "declined",
        ("approved", "cancel"): "cancelled",
        ("approved", "pay"): "paid",
        ("paid", "write_off"): "written_off",
    }
)
STATES = sorted(MOVES.states)
UNDECIDED = ("submitted", "meeting", "returned")
"""Live and not yet approved: computed anew or lapsed when the loan changes (R-32, R-41)."""
DECIDED_FOR = ("approved", "paid", "written_off")
"""From the approval on: the duty of R-51 stands, money received is a recovery (R-60)."""
SHARING = ("paid", "written_off")
"""The payout is complete: a recovery is shared at once (R-60, R-61)."""


def one_of(column: str, values: Iterable[str]) -> str:
    """SQL of a CHECK: the column holds one of these words."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def fen(*, default: int | None = None) -> Any:
    """A column of integer fen (bigint)."""
    return Field(sa_type=BigInteger) if default is None else Field(default=default, sa_type=BigInteger)


LIVE = one_of("state", (*UNDECIDED, *DECIDED_FOR))


class Table(SQLModel, registry=registry()):
    """Compensation's own tables."""


class Claim(Table, table=True):
    """A claim for one loan. Until the approval the shares are those of R-42; from then on those decided."""

    __table_args__ = (
        Index("claim_live", "loan_id", unique=True, postgresql_where=text(LIVE)),
        Index("claim_of_loan", "loan_id", "id"),
        Index("claim_of_institution", "institution_id", "id"),
        Index("claim_of_guarantor", "guarantor_id", "id", postgresql_where=text("guarantor_id IS NOT NULL")),
        Index("claim_of_enterprise", "uscc", "id"),
        Index("claim_in_state", "state", "id"),
        CheckConstraint(one_of("state", STATES), name="claim_state"),
        CheckConstraint("principal_fen >= 0 AND interest_fen >= 0", name="claim_loss"),
        CheckConstraint(
            "interest_fen <= least(stated_interest_fen, computed_interest_fen)", name="claim_interest"
        ),
        CheckConstraint(
            "fund_principal_fen + guarantor_principal_fen + institution_principal_fen = principal_fen",
            name="claim_principal_shares",
        ),
        CheckConstraint(
            "fund_interest_fen + guarantor_interest_fen + institution_interest_fen = interest_fen",
            name="claim_interest_shares",
        ),
        CheckConstraint(
            "least(fund_principal_fen, fund_interest_fen, guarantor_principal_fen, guarantor_interest_fen, "
            "institution_principal_fen, institution_interest_fen, cut_fen) >= 0",
            name="claim_shares_positive",
        ),
        CheckConstraint(
            "(approved_on IS NOT NULL) = (state IN ('approved', 'cancelled', 'paid', 'written_off'))",
            name="claim_approved",
        ),
        CheckConstraint("(paid_on IS NOT NULL) = (state IN ('paid', 'written_off'))", name="claim_paid"),
    )

    id: UUID = Field(primary_key=True)
    number: str = Field(unique=True)
    loan_id: UUID
    loan_number: str
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    guarantor_id: UUID | None = None
    guarantor_name: str | None = None
    security_type: str
    measures: str
    """The version of the measures the loan stands under."""
    state: str
    overdue_since: date
    """D of R-30 when it was claimed."""
    submitted_on: date
    claimed_on: date
    """The day the stated interest runs to: of the submission, or of the last resubmission."""
    figures: int = 1
    """Grows whenever the figures are stated or computed anew (R-41)."""
    figures_since: date
    principal_fen: int = fen()
    interest_fen: int = fen()
    stated_interest_fen: int = fen()
    computed_interest_fen: int = fen()
    statement: str = ""
    fund_principal_fen: int = fen()
    fund_interest_fen: int = fen()
    guarantor_principal_fen: int = fen()
    guarantor_interest_fen: int = fen()
    institution_principal_fen: int = fen()
    institution_interest_fen: int = fen()
    cut_fen: int = fen(default=0)
    """What R-43 took from the fund's share; the institution bears it."""
    approved_on: date | None = None
    payout_due_on: date | None = None
    paid_on: date | None = None
    closed_on: date | None = None
    """Withdrawn, lapsed, declined or cancelled on this day."""
    minutes_number: str | None = None
    reason: str | None = None
    """Why it was returned or declined."""
    credit_recorded_on: date | None = None
    credit_reference: str | None = None

    @property
    def loss(self) -> Loss:
        return Loss(self.principal_fen, self.interest_fen)

    @property
    def split(self) -> Split:
        return Split(*(getattr(self, f"{part}_fen") for part in SHARES))

    @property
    def borne(self) -> Parts:
        """What each party bears of the loss, after the cut."""
        split = self.split
        return Parts(split.fund_fen, split.guarantor_fen, split.institution_fen)

    def bear(self, split: Split) -> None:
        """Take over these shares."""
        for part in SHARES:
            setattr(self, f"{part}_fen", getattr(split, f"{part}_fen"))


SHARES = tuple(
    f"{party}_{kind}" for party in ("fund", "guarantor", "institution") for kind in ("principal", "interest")
)


class Ballot(Table, BallotRow, table=True):
    """One unit's ballot on the figures it saw (R-45)."""

    case_id: UUID = Field(primary_key=True, foreign_key="claim.id")
    cast_at: datetime = Field(sa_type=DateTime(timezone=True))
    figures: int


class Trace(Table, table=True):
    """One move of a claim, with its day, who made it, and what was so before it (R-49)."""

    __tablename__ = "claim_trace"
    __table_args__ = (Index("claim_trace_of", "claim_id", "id"),)

    id: UUID = Field(primary_key=True)
    claim_id: UUID = Field(foreign_key="claim.id")
    day: date
    move: str
    state: str
    by: str
    facts: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))


class Payment(Table, table=True):
    """The fund's or the guarantor's payment of its share (R-47)."""

    __table_args__ = (
        CheckConstraint(one_of("payer", ("fund", "guarantor")), name="payment_payer"),
        CheckConstraint("amount_fen > 0", name="payment_amount"),
    )

    claim_id: UUID = Field(primary_key=True, foreign_key="claim.id")
    payer: str = Field(primary_key=True)
    amount_fen: int = fen()
    paid_on: date
    voucher: str
    recorded_on: date
    recorded_by: str


class Recovery(Table, table=True):
    """Money recovered, and how its net was shared (R-60). `reverses` names the recovery it undoes."""

    __table_args__ = (
        CheckConstraint(
            "gross_fen >= 0 AND costs_fen >= 0 AND gross_fen + costs_fen > 0", name="recovery_gross"
        ),
        CheckConstraint(
            "fund_fen + guarantor_fen + institution_fen = gross_fen - costs_fen", name="recovery_sum"
        ),
        CheckConstraint(one_of("state", ("recorded", "shared", "void")), name="recovery_state"),
        CheckConstraint("(state = 'shared') = (shared_on IS NOT NULL)", name="recovery_shared"),
        CheckConstraint("(state = 'shared') = (fund_fen IS NOT NULL)", name="recovery_shares"),
        UniqueConstraint("claim_id", "voucher", name="recovery_voucher"),
        Index("recovery_of_claim", "claim_id", "id"),
        Index("recovery_of_repayment", "repayment_id", unique=True),
        Index("recovery_reversed", "reverses", unique=True),
    )

    id: UUID = Field(primary_key=True)
    number: str = Field(unique=True)
    claim_id: UUID = Field(foreign_key="claim.id")
    gross_fen: int = fen()
    costs_fen: int = fen()
    received_on: date
    voucher: str
    repayment_id: UUID | None = None
    """The repayment lending had recorded when the approval crossed it (R-49)."""
    reverses: UUID | None = Field(default=None, foreign_key="recovery.id")
    state: str = "recorded"
    recorded_on: date
    recorded_by: str
    shared_on: date | None = None
    fund_fen: int | None = Field(default=None, sa_type=BigInteger)
    guarantor_fen: int | None = Field(default=None, sa_type=BigInteger)
    institution_fen: int | None = Field(default=None, sa_type=BigInteger)

    @property
    def net_fen(self) -> int:
        return self.gross_fen - self.costs_fen


class Receipt(Table, table=True):
    """The fund or the guarantor confirms its share of a recovery: received, or paid where it is owed."""

    __table_args__ = (
        CheckConstraint(one_of("party", ("fund", "guarantor")), name="receipt_party"),
        CheckConstraint("amount_fen <> 0", name="receipt_amount"),
    )

    recovery_id: UUID = Field(primary_key=True, foreign_key="recovery.id")
    party: str = Field(primary_key=True)
    amount_fen: int = fen()
    received_on: date
    voucher: str
    confirmed_on: date
    confirmed_by: str


class WriteOff(Table, table=True):
    """The final loss to be written off on this ground; the amounts are those of the decision (R-61)."""

    __tablename__ = "write_off"
    __table_args__ = (
        CheckConstraint(one_of("state", ("requested", "approved", "declined")), name="write_off_state"),
        CheckConstraint(
            one_of("ground", ("bankruptcy", "liquidation", "enforcement_terminated")), name="write_off_ground"
        ),
        CheckConstraint("least(fund_fen, guarantor_fen, institution_fen) >= 0", name="write_off_amounts"),
        Index("write_off_live", "claim_id", unique=True, postgresql_where=text("state <> 'declined'")),
        Index("write_off_in_state", "state", "id"),
        Index("write_off_of_claim", "claim_id", "id"),
    )

    id: UUID = Field(primary_key=True)
    claim_id: UUID = Field(foreign_key="claim.id")
    ground: str
    evidence_number: str
    evidence_date: date
    state: str = "requested"
    requested_on: date
    requested_by: str
    fund_fen: int = fen()
    guarantor_fen: int = fen()
    institution_fen: int = fen()
    decided_on: date | None = None
    decided_by: str | None = None
    reason: str | None = None


def move(
    session: AsyncSession,
    claim: Claim,
    how: str,
    *,
    day: date,
    by: str,
    rule: str,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Move the claim on and leave the trace (R-49). Raises IllegalMove (409)."""
    claim.state = MOVES.after(claim.state, how, rule=rule)
    trace(session, claim, how, day=day, by=by, facts=facts)


def trace(
    session: AsyncSession,
    claim: Claim,
    what: str,
    *,
    day: date,
    by: str,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Leave a trace of what happened to the claim."""
    session.add(
        Trace(
            id=new_id(),
            claim_id=claim.id,
            day=day,
            move=what,
            state=claim.state,
            by=by,
            facts=dict(facts or {}),
        )
    )


async def void_ballots(session: AsyncSession, claim: Claim) -> list[dict[str, str]]:
    """Void the ballots cast so far; what they said, for the trace (R-41, R-49)."""
    cast = (await session.execute(select(Ballot).where(col(Ballot.case_id) == claim.id))).scalars().all()
    if cast:
        await session.execute(delete(Ballot).where(col(Ballot.case_id) == claim.id))
    return [{"unit": row.unit, "choice": row.choice, "comment": row.comment} for row in cast]
