"""The loan changes while its claim waits for the conference: computed anew, or lapsed (R-32, R-41).

Each fact finds the claim by its loan, whose row it holds since it was remembered: a submission or an
approval of the same loan comes before or after it, never in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from services.compensation import figures
from services.compensation.claim import UNDECIDED, Claim, move, void_ballots
from services.compensation.covered_loan import CoveredLoan, hold_loan
from services.compensation.docket import BY, about, claims_of
from shared.events import ClaimLapsed, ClaimRecomputed, OverdueCured
from shared.outbox import announce


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
