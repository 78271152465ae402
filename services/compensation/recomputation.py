"""The loan changes while its claim waits for the conference: computed anew, or lapsed (R-32, R-41).

Each fact finds the claim by its loan, whose row it holds since it was remembered: a submission or an
approval of the same loan comes before or after it, never in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.compensation import figures
from services.compensation.claim import UNDECIDED, Claim, move
from services.compensation.covered_loan import CoveredLoan, hold_loan
from services.compensation.deliberation import void_ballots
from services.compensation.docket import about
from shared.events import AboutLoan, ClaimLapsed, ClaimRecomputed, OverdueCured
from shared.outbox import announce

BY = "系统 system"


async def claims_of(
    session: AsyncSession, events: Sequence[Any], states: Iterable[str]
) -> AsyncIterator[tuple[Claim, Any]]:
    """The claims in these states on the events' loans, each with the events of its loan in order."""
    by_loan: dict[Any, list[AboutLoan]] = {}
    for event in events:
        by_loan.setdefault(event.loan_id, []).append(event)
    with_claims = select(col(Claim.loan_id)).where(col(Claim.loan_id).in_(by_loan)).distinct()
    for loan_id in sorted((await session.execute(with_claims)).scalars().all()):
        await hold_loan(session, loan_id)
    query = select(Claim).where(col(Claim.loan_id).in_(by_loan), col(Claim.state).in_(tuple(states)))
    query = query.order_by(col(Claim.id)).execution_options(populate_existing=True)
    for claim in (await session.execute(query)).scalars().all():
        yield claim, by_loan[claim.loan_id]


async def position_changed(session: AsyncSession, events: Sequence[Any]) -> None:
    """Money came in or went back, or a figure was corrected: the claim's figures follow the record."""
    async for claim, told in claims_of(session, events, UNDECIDED):
        loan = await hold_loan(session, claim.loan_id)
        await _compute_anew(session, claim, loan, told[-1].business_date)


async def _compute_anew(session: AsyncSession, claim: Claim, loan: CoveredLoan, today: date) -> None:
    old = figures.told(claim)
    loss = figures.compute_anew(claim, loan, today)
    if loss.total_fen == 0:
        _lapse(session, claim, today)
    elif claim.figures != old["figures"]:
        facts = {"old": old, "new": figures.told(claim), "ballots": await void_ballots(session, claim)}
        move(session, claim, "recompute", day=today, by=BY, rule="R-41", facts=facts)
        announce(
            session,
            ClaimRecomputed(
                **about(claim, today),
                figures=claim.figures,
                principal=claim.principal_fen,
                interest=claim.interest_fen,
            ),
        )


async def loan_cured(session: AsyncSession, events: Sequence[OverdueCured]) -> None:
    """R-32: a claim not yet approved on a cured (or settled, or renewed) loan has lapsed."""
    async for claim, told in claims_of(session, events, UNDECIDED):
        _lapse(session, claim, told[-1].business_date)


def _lapse(session: AsyncSession, claim: Claim, today: date) -> None:
    claim.closed_on = today
    move(session, claim, "lapse", day=today, by=BY, rule="R-32")
    announce(session, ClaimLapsed(**about(claim, today)))
