"""A claim's figures: computed from the record, stated by the institution, shared (R-41, R-42)."""

from __future__ import annotations

from datetime import date

from services.compensation import policy
from services.compensation.claim import Claim
from services.compensation.covered_loan import CoveredLoan
from services.compensation.policy import Loss
from shared.measures import measures_on
from shared.money import format_money
from shared.problems import Refusal, uphold
from shared.rules import Text


class FiguresDiffer(Refusal):
    """The stated figures are not the computed ones (R-41); the computed ones are among the facts."""

    title = Text("申请金额与计算结果不符", "Figures differ")


class NothingLost(Refusal):
    """Neither principal nor interest is unpaid (R-41)."""

    title = Text("没有损失", "Nothing lost")


def computed_loss(loan: CoveredLoan, day: date) -> Loss:
    """R-41 on the position on record, with interest up to `day`, in fen."""
    return policy.loss(
        outstanding_fen=loan.outstanding_fen,
        interest_received_fen=loan.interest_received_fen,
        steps=loan.principal_steps,
        contract=loan.contract,
        until=day,
    )


def state(claim: Claim, loan: CoveredLoan, stated: Loss, today: date) -> None:
    """Take over the stated figures when they hold against the record. Raises FiguresDiffer, NothingLost."""
    computed = computed_loss(loan, today)
    uphold(
        policy.stated_as_computed(stated, computed),
        FiguresDiffer,
        computed_principal=format_money(computed.principal_fen),
        computed_interest=format_money(computed.interest_fen),
    )
    uphold(policy.is_a_loss(stated), NothingLost)
    claim.claimed_on = today
    claim.stated_interest_fen = stated.interest_fen
    _take_over(claim, loan, stated, computed, today)


def compute_anew(claim: Claim, loan: CoveredLoan, today: date) -> Loss:
    """The record's principal, and interest as stated but at most as computed now, up to the claim's day."""
    computed = computed_loss(loan, claim.claimed_on)
    loss = Loss(computed.principal_fen, min(claim.stated_interest_fen, computed.interest_fen))
    claim.computed_interest_fen = computed.interest_fen  # the voters see it, claimed in full or not
    if loss != claim.loss or loan.security_type != claim.security_type:
        _take_over(claim, loan, loss, computed, today)
    return loss


def _take_over(claim: Claim, loan: CoveredLoan, loss: Loss, computed: Loss, today: date) -> None:
    claim.principal_fen = loss.principal_fen
    claim.interest_fen = loss.interest_fen
    claim.computed_interest_fen = computed.interest_fen
    claim.security_type = loan.security_type
    claim.bear(policy.split(loss, measures_on(loan.disbursed_on).shares_for(loan.security_type)))
    claim.figures += 1
    claim.figures_since = today


def told(claim: Claim) -> dict[str, str | int]:
    """The figures, for a trace."""
    return {
        "figures": claim.figures,
        "principal": format_money(claim.principal_fen),
        "interest": format_money(claim.interest_fen),
    }
