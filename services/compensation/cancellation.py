"""Money that reaches lending after the approval: a recovery, or the end of the claim (R-49, R-60).

Lending refuses repayments from the approval on, except the one that settles the loan in full before
anything was paid out. What it had recorded before it heard of the approval crossed it on the way: such
money is a recovery of the claim, recorded here by itself. When the loan is then settled and nothing was
paid out, the claim is cancelled and these recoveries are void: the borrower paid the institution, and
nobody else bore anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.compensation import fund, institution_year
from services.compensation.claim import DECIDED_FOR, Claim, Recovery, move, trace
from services.compensation.docket import BY, about, claims_of
from services.compensation.payout import payments_of
from services.compensation.recovery_sharing import Recovered, add_recovery
from shared.events import ClaimCancelled, LoanSettled, RepaymentRecorded, RepaymentReversed
from shared.measures import measures_on
from shared.outbox import announce


async def money_crossed(session: AsyncSession, events: Sequence[RepaymentRecorded]) -> None:
    """A repayment on an approved claim's loan is a recovery of the claim."""
    async for claim, told in claims_of(session, events, DECIDED_FOR):
        for event in told:
            voucher = await _own_voucher(session, claim, event.reference, event.repayment_id)
            money = Recovered(
                event.principal + event.interest,
                0,
                event.value_date,
                voucher,
                BY,
                repayment_id=event.repayment_id,
            )
            await add_recovery(session, claim, money, event.business_date)


async def _own_voucher(session: AsyncSession, claim: Claim, voucher: str, source: UUID) -> str:
    """A voucher the institution entered by hand already does not keep lending's money out."""
    same = (col(Recovery.claim_id) == claim.id, col(Recovery.voucher) == voucher)
    taken = (await session.execute(select(col(Recovery.id)).where(*same))).first() is not None
    return f"{voucher} {source}" if taken else voucher


async def money_went_back(session: AsyncSession, events: Sequence[RepaymentReversed]) -> None:
    """A repayment that had become a recovery was reversed: void, or shared back as it was shared."""
    async for claim, told in claims_of(session, events, DECIDED_FOR):
        for event in told:
            query = select(Recovery).where(col(Recovery.repayment_id) == event.reverses)
            undone = (await session.execute(query)).scalar_one_or_none()
            if undone is not None and undone.state == "recorded":
                undone.state = "void"
                trace(session, claim, "recovery_void", day=event.business_date, by=BY)
            elif undone is not None and undone.state == "shared":
                await _give_back(session, claim, undone, event)


async def _give_back(session: AsyncSession, claim: Claim, undone: Recovery, event: RepaymentReversed) -> None:
    voucher = await _own_voucher(session, claim, f"冲正 {undone.voucher}", undone.id)
    twin = Recovered(0, undone.net_fen, event.value_date, voucher, BY, reverses=undone.id)
    await add_recovery(session, claim, twin, event.business_date)


async def loan_settled(session: AsyncSession, events: Sequence[LoanSettled]) -> None:
    """R-49: paid in full before anything was paid out cancels the claim; otherwise the payout stands."""
    async for claim, told in claims_of(session, events, ("approved",)):
        if not await payments_of(session, claim):
            await _cancel(session, claim, told[-1].business_date)


async def _cancel(session: AsyncSession, claim: Claim, today: date) -> None:
    """Release the reservation, give the year its room back, void what came in by the borrower."""
    reserved = claim.borne.fund_fen
    assert claim.approved_on is not None
    if reserved:
        await fund.lock(session)
        cap = measures_on(date.fromisoformat(claim.measures)).institution_year_cap_fen
        year = await institution_year.hold(session, claim.institution_id, claim.approved_on.year, cap)
        year.cleared_fen -= reserved
        voucher = fund.Voucher(today, claim.number, BY)
        fund.book(session, "release", reserved, today, voucher, claim_id=claim.id)
    waiting = (col(Recovery.claim_id) == claim.id, col(Recovery.state) == "recorded")
    await session.execute(update(Recovery).where(*waiting).values(state="void"))
    claim.closed_on = today
    move(session, claim, "cancel", day=today, by=BY, rule="R-49")
    announce(session, ClaimCancelled(**about(claim, today)))
