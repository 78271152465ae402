"""An approved claim: the cap decides the fund's share (R-43), the fund reserves it (R-44, R-48).

Both are held while they change, the fund first and then the institution's year: of any number of claims
approved at once, each sees what the ones before it took.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from services.compensation import fund, institution_year, payout, policy
from services.compensation.claim import Claim, move
from services.compensation.covered_loan import CoveredLoan
from services.compensation.docket import about
from services.compensation.policy import Split
from shared.events import ClaimApproved
from shared.events import Split as ToldSplit
from shared.measures import Measures, measures_on
from shared.money import format_money
from shared.outbox import announce
from shared.problems import uphold


@dataclass(frozen=True, slots=True)
class Decision:
    """The day the conference approved, the day it is recorded, and by whom."""

    approved_on: date
    today: date
    by: str


async def approve(session: AsyncSession, claim: Claim, loan: CoveredLoan, decision: Decision) -> None:
    """Cut, reserve, approve, announce. Raises FundInsufficient and IllegalMove."""
    measures = measures_on(loan.disbursed_on)
    split = await _within_cap_and_fund(session, claim, measures, decision.approved_on.year)
    claim.cut_fen = claim.split.fund_fen - split.fund_fen
    claim.bear(split)
    claim.approved_on = decision.approved_on
    claim.payout_due_on = policy.payout_due_on(decision.approved_on, measures)
    facts = {"fund": format_money(split.fund_fen), "cut": format_money(claim.cut_fen)}
    move(session, claim, "approve", day=decision.today, by=decision.by, rule="R-45", facts=facts)
    if split.fund_fen:
        voucher = fund.Voucher(decision.approved_on, claim.minutes_number or claim.number, decision.by)
        fund.book(session, "reservation", split.fund_fen, decision.today, voucher, claim_id=claim.id)
    announce(
        session,
        ClaimApproved(
            **about(claim, decision.today),
            approved_on=decision.approved_on,
            principal=claim.principal_fen,
            interest=claim.interest_fen,
            split=_told(split),
            cut=claim.cut_fen,
            payout_due_on=claim.payout_due_on,
        ),
    )
    await payout.complete_when_all_paid(session, claim, decision.today, decision.by)


async def _within_cap_and_fund(session: AsyncSession, claim: Claim, measures: Measures, year: int) -> Split:
    """The shares after the cap's cut, their room taken from the year and found in the fund."""
    await fund.lock(session)
    cap = measures.institution_year_cap_fen
    held = await institution_year.hold(session, claim.institution_id, year, cap)
    split = policy.cut_to(claim.split, policy.headroom(held.cleared_fen, measures))
    available = (await fund.balances(session)).available
    uphold(
        policy.fund_suffices(available, split.fund_fen),
        fund.FundInsufficient,
        available=format_money(available),
        needed=format_money(split.fund_fen),
    )
    held.cleared_fen += split.fund_fen
    return split


def _told(split: Split) -> ToldSplit:
    return ToldSplit(
        fund_principal=split.fund_principal_fen,
        fund_interest=split.fund_interest_fen,
        guarantor_principal=split.guarantor_principal_fen,
        guarantor_interest=split.guarantor_interest_fen,
        institution_principal=split.institution_principal_fen,
        institution_interest=split.institution_interest_fen,
    )
