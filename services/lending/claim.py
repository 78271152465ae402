"""What lending remembers of claims: which loan's money is a recovery now (R-27, R-49, R-60).

Heard from compensation; replayable. A claim's facts share topic and key, so they come in order; against
the loan's own facts they have none, which is why they are kept beside the loan and not on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field

from services.lending.loan import Table, fen, one_of
from shared.events import AboutClaim, ClaimApproved, ClaimCancelled, CompensationPaid


class Claim(Table, table=True):
    """An approved claim on a loan: `approved`, then `cancelled` or `paid`."""

    __table_args__ = (
        CheckConstraint(one_of("state", ("approved", "cancelled", "paid")), name="claim_state"),
        CheckConstraint("fund_paid_fen >= 0 AND guarantor_paid_fen >= 0", name="claim_paid"),
        Index("claim_of_loan", "loan_id", unique=True, postgresql_where=text("state <> 'cancelled'")),
    )

    claim_id: UUID = Field(primary_key=True)
    loan_id: UUID
    number: str
    state: str
    approved_on: date | None = None
    fund_paid_fen: int = fen(default=0)
    guarantor_paid_fen: int = fen(default=0)
    paid_on: date | None = None


async def _keep(session: AsyncSession, event: AboutClaim, **facts: object) -> None:
    about = {"claim_id": event.claim_id, "loan_id": event.loan_id, "number": event.claim_number}
    fresh = {"fund_paid_fen": 0, "guarantor_paid_fen": 0}
    row = insert(Claim).values(**about, **(fresh | facts))
    await session.execute(row.on_conflict_do_update(index_elements=["claim_id"], set_=facts))


async def claim_approved(session: AsyncSession, events: Sequence[ClaimApproved]) -> None:
    """From now on money received is a recovery (R-60)."""
    for event in events:
        await _keep(session, event, state="approved", approved_on=event.approved_on)


async def claim_cancelled(session: AsyncSession, events: Sequence[ClaimCancelled]) -> None:
    """The borrower paid in full before anything was paid out (R-49)."""
    for event in events:
        await _keep(session, event, state="cancelled")


async def compensation_paid(session: AsyncSession, events: Sequence[CompensationPaid]) -> None:
    """Fund and guarantor have paid (R-47)."""
    for event in events:
        await _keep(
            session,
            event,
            state="paid",
            fund_paid_fen=event.fund_paid,
            guarantor_paid_fen=event.guarantor_paid,
            paid_on=event.paid_on,
        )
