"""How a recovery is shared: in the claim's ratio or in what was borne, never beyond what was borne (R-60).

A recovery that a repayment's reversal undoes (R-27) is shared back exactly as it was shared.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.compensation import policy
from services.compensation.claim import SHARING, Claim, Recovery, trace
from services.compensation.docket import about
from services.compensation.policy import Parts
from shared.database import new_id, numbered
from shared.events import RecoveryDistributed, RecoveryRecorded
from shared.measures import measures_on
from shared.money import format_money
from shared.outbox import announce


@dataclass(frozen=True, slots=True)
class Recovered:
    """Money that came in, in fen, and what it rests on."""

    gross_fen: int
    costs_fen: int
    received_on: date
    voucher: str
    recorded_by: str
    repayment_id: UUID | None = None
    reverses: UUID | None = None


async def add_recovery(session: AsyncSession, claim: Claim, money: Recovered, today: date) -> Recovery:
    """Record a recovery, and share it at once when the payout is complete. The caller holds the loan."""
    number = select(numbered("R", "recovery_number", today))
    recovery = Recovery(
        id=new_id(),
        number=(await session.execute(number)).scalar_one(),
        claim_id=claim.id,
        state="recorded",
        recorded_on=today,
        **asdict(money),
    )
    session.add(recovery)
    await session.flush()
    facts = {"number": recovery.number, "net": format_money(recovery.net_fen)}
    trace(session, claim, "recovery", day=today, by=recovery.recorded_by, facts=facts)
    if recovery.repayment_id is None or claim.state in SHARING:
        _announce_recorded(session, claim, recovery, today)
    if claim.state in SHARING:
        await _share(session, claim, recovery, today)
    return recovery


async def share_waiting(session: AsyncSession, claim: Claim, today: date) -> None:
    """Share what was recovered before the payout was complete, in the order it was recorded.

    Money that crossed the approval is announced only now: until the payout it may still turn out to settle
    the loan and cancel the claim (R-49), and then it never was a recovery.
    """
    waiting = select(Recovery).where(col(Recovery.claim_id) == claim.id, col(Recovery.state) == "recorded")
    for recovery in (await session.execute(waiting.order_by(col(Recovery.id)))).scalars().all():
        if recovery.repayment_id is not None:
            _announce_recorded(session, claim, recovery, today)
        await _share(session, claim, recovery, today)


def _announce_recorded(session: AsyncSession, claim: Claim, recovery: Recovery, today: date) -> None:
    announce(
        session,
        RecoveryRecorded(
            **about(claim, today),
            recovery_id=recovery.id,
            gross=recovery.gross_fen,
            costs=recovery.costs_fen,
            received_on=recovery.received_on,
        ),
    )


async def shared_so_far(session: AsyncSession, claim: Claim) -> Parts:
    """What recoveries gave each party so far, net of costs it owes; fen."""
    sums = [
        func.coalesce(func.sum(column), 0)
        for column in (col(Recovery.fund_fen), col(Recovery.guarantor_fen), col(Recovery.institution_fen))
    ]
    query = select(*sums).where(col(Recovery.claim_id) == claim.id, col(Recovery.state) == "shared")
    return Parts(*map(int, (await session.execute(query)).one()))


async def _share(session: AsyncSession, claim: Claim, recovery: Recovery, today: date) -> None:
    parts = await _parts(session, claim, recovery)
    recovery.fund_fen = parts.fund_fen
    recovery.guarantor_fen = parts.guarantor_fen
    recovery.institution_fen = parts.institution_fen
    recovery.state, recovery.shared_on = "shared", today
    await session.flush()
    announce(
        session,
        RecoveryDistributed(
            **about(claim, today),
            recovery_id=recovery.id,
            net=recovery.net_fen,
            fund=parts.fund_fen,
            guarantor=parts.guarantor_fen,
            institution=parts.institution_fen,
        ),
    )


async def _parts(session: AsyncSession, claim: Claim, recovery: Recovery) -> Parts:
    if recovery.reverses is not None:
        undone = await session.get_one(Recovery, recovery.reverses)
        if undone.state == "shared":
            return Parts(-_of(undone.fund_fen), -_of(undone.guarantor_fen), -_of(undone.institution_fen))
    shares = measures_on(date.fromisoformat(claim.measures)).shares_for(claim.security_type)
    weights = policy.recovery_weights(claim.borne, claim.cut_fen, shares)
    had = await shared_so_far(session, claim)
    return policy.share_recovery(recovery.net_fen, weights, claim.borne, had)


def _of(fen: int | None) -> int:
    return fen or 0
