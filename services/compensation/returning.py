"""The office returns a claim, the institution mends it or takes it back (R-49). Ballots start anew."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.compensation import figures
from services.compensation.claim import MOVES, move, void_ballots
from services.compensation.docket import about, take_up
from services.compensation.policy import Loss
from services.compensation.shown import ClaimShown, show
from services.compensation.submission import REFUSALS, StateLoss, announce_submission, may_claim
from shared.events import ClaimReturned, ClaimWithdrawn
from shared.outbox import announce
from shared.problems import IllegalMove, NotFound, refusals
from shared.service import Caller, Session, Today, router

steps = router("claims")


class ReturnClaim(BaseModel):
    """Why the claim goes back."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"reasons": "缺少催收记录，请补充"}]},
    )

    reasons: Annotated[str, Field(min_length=1, max_length=2000)]


@steps.post(
    "/v1/claims/{claim_id}/return",
    operation_id="return_claim",
    responses=refusals(IllegalMove, NotFound),
)
async def return_claim(
    claim_id: UUID, body: ReturnClaim, session: Session, who: Caller, today: Today
) -> ClaimShown:
    """Send the claim back to the institution with reasons; the ballots cast so far are void."""
    claim, loan = await take_up(session, claim_id, who)
    MOVES.after(claim.state, "return", rule="R-49")
    facts = {"reasons": body.reasons, "ballots": await void_ballots(session, claim)}
    claim.reason = body.reasons
    move(session, claim, "return", day=today, by=who.name, rule="R-49", facts=facts)
    announce(session, ClaimReturned(**about(claim, today), reasons=body.reasons))
    await session.flush()
    return await show(session, claim, loan, today, who)


@steps.post(
    "/v1/claims/{claim_id}/resubmission",
    operation_id="resubmit_claim",
    responses=refusals(IllegalMove, *REFUSALS),
)
async def resubmit_claim(
    claim_id: UUID, body: StateLoss, session: Session, who: Caller, today: Today
) -> ClaimShown:
    """Submit the mended claim again. It states the loss anew, with interest up to today."""
    claim, loan = await take_up(session, claim_id, who)
    MOVES.after(claim.state, "resubmit", rule="R-49")
    await may_claim(session, loan, today)
    assert loan.overdue_since is not None
    claim.overdue_since = loan.overdue_since
    figures.state(claim, loan, Loss(body.principal, body.interest), today)
    claim.statement = body.statement or claim.statement
    claim.reason = None
    move(session, claim, "resubmit", day=today, by=who.name, rule="R-49", facts=figures.told(claim))
    announce_submission(session, claim, today)
    await session.flush()
    return await show(session, claim, loan, today, who)


@steps.post(
    "/v1/claims/{claim_id}/withdrawal",
    operation_id="withdraw_claim",
    responses=refusals(IllegalMove, NotFound),
)
async def withdraw_claim(claim_id: UUID, session: Session, who: Caller, today: Today) -> ClaimShown:
    """Take the claim back; possible until it is approved."""
    claim, loan = await take_up(session, claim_id, who)
    claim.closed_on = today
    move(session, claim, "withdraw", day=today, by=who.name, rule="R-49")
    announce(session, ClaimWithdrawn(**about(claim, today)))
    await session.flush()
    return await show(session, claim, loan, today, who)
