"""The institution claims the loss of an overdue loan (R-40, R-41, R-42, R-49)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.responses import Response

from services.compensation import figures, policy
from services.compensation.claim import LIVE, Claim, trace
from services.compensation.covered_loan import CoveredLoan, hold_loan, reported
from services.compensation.docket import about, no_such_case
from services.compensation.figures import FiguresDiffer, NothingLost
from services.compensation.policy import Loss
from services.compensation.shown import ClaimShown, show
from shared.database import new_id, numbered
from shared.events import ClaimSubmitted
from shared.inbox import Heard
from shared.measures import measures_on
from shared.money import NonNegative
from shared.outbox import announce
from shared.problems import NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, News, Session, Today, router

steps = router("claims")
LOAN = "0199c4a0-5f5e-7cc3-9d0e-2f1f6f3f7a11"
LOSS: dict[str, JsonValue] = {
    "principal": "3000000.01",
    "interest": "45678.93",
    "statement": "借款人停产，已起诉",
}


class StateLoss(BaseModel):
    """The unpaid principal on record, and interest within the agreed term: no penalty, no compound."""

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, json_schema_extra={"examples": [LOSS]}
    )

    principal: NonNegative
    interest: NonNegative
    statement: str = Field(default="", max_length=4000)


class SubmitClaim(StateLoss):
    """A claim for one of the institution's own loans. `new_facts`: when an earlier one was declined."""

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, json_schema_extra={"examples": [{"loan_id": LOAN, **LOSS}]}
    )

    loan_id: UUID
    new_facts: str | None = Field(default=None, min_length=1, max_length=4000)


class ClaimNotPossible(Refusal):
    """A condition of a claim is not met (R-22, R-30, R-31)."""

    title = Text("不符合申请代偿的条件", "Claim not possible")


class ClaimTooEarly(Refusal):
    """Before the first possible day (R-40), which is among the facts."""

    title = Text("未到可申请代偿的日期", "Too early to claim")


class AlreadyClaimed(Refusal):
    """A live claim stands for this loan (R-40)."""

    title = Text("已有有效的代偿申请", "Already claimed")


class NewFactsMissing(Refusal):
    """An earlier claim was declined and nothing new is stated (R-49)."""

    title = Text("须写明新的事实", "New facts missing")


REFUSALS = (ClaimNotPossible, ClaimTooEarly, FiguresDiffer, NothingLost, NotFound)


@steps.post(
    "/v1/claims",
    operation_id="submit_claim",
    status_code=201,
    responses=refusals(AlreadyClaimed, NewFactsMissing, *REFUSALS),
)
async def submit_claim(
    body: SubmitClaim, session: Session, who: Caller, today: Today, news: News, response: Response
) -> ClaimShown:
    """Claim the loss of an own loan that is overdue, reported and uncured, from day 91 on."""
    loan = await _own_loan(session, news, body.loan_id, who.party_id, today)
    await _first_or_with_new_facts(session, loan, body.new_facts)
    await may_claim(session, loan, today)
    claim = await _new_claim(session, loan, today)
    claim.statement = "\n".join(filter(None, [body.statement, body.new_facts]))
    figures.state(claim, loan, Loss(body.principal, body.interest), today)
    session.add(claim)
    await session.flush()
    trace(session, claim, "submit", day=today, by=who.name, facts=figures.told(claim))
    announce_submission(session, claim, today)
    response.headers["Location"] = f"/v1/claims/{claim.id}"
    return await show(session, claim, loan, today, who)


async def _own_loan(
    session: AsyncSession, news: Heard, loan_id: UUID, institution_id: UUID, today: date
) -> CoveredLoan:
    """The institution's own loan, held. A filing or report still on its way is waited for; another's
    loan is waited for as one that does not exist."""
    own = (col(CoveredLoan.loan_id) == loan_id, col(CoveredLoan.institution_id) == institution_id)
    asked = select(col(CoveredLoan.overdue_since), col(CoveredLoan.disbursed_on), reported().label("told"))

    async def ready() -> bool | None:
        known = (await session.execute(asked.where(*own))).first()
        if known is None or known.overdue_since is None:
            return None
        first = policy.first_claim_day(known.overdue_since, measures_on(known.disbursed_on))
        return True if known.told or today < first else None

    await news.wait_for(ready)
    if (await session.execute(select(col(CoveredLoan.loan_id)).where(*own))).first() is None:
        raise no_such_case()
    return await hold_loan(session, loan_id)


async def _first_or_with_new_facts(session: AsyncSession, loan: CoveredLoan, new_facts: str | None) -> None:
    """R-40: no other live claim; R-49: after a declined one, only with new facts."""
    of_loan = col(Claim.loan_id) == loan.loan_id
    live = await session.execute(select(col(Claim.number)).where(of_loan, text(LIVE)))
    uphold(policy.is_unclaimed(live.scalar_one_or_none()), AlreadyClaimed)
    declined = select(col(Claim.id)).where(of_loan, col(Claim.state) == "declined").limit(1)
    has_declined = (await session.execute(declined)).first() is not None
    uphold(policy.states_new_facts(has_declined, new_facts), NewFactsMissing)


async def may_claim(session: AsyncSession, loan: CoveredLoan, today: date) -> None:
    """R-40's conditions on the loan as it stands. Raises ClaimNotPossible, ClaimTooEarly."""
    uphold(policy.is_covered(loan.cover), ClaimNotPossible)
    uphold(policy.is_overdue(loan.overdue_since), ClaimNotPossible)
    assert loan.overdue_since is not None
    measures = measures_on(loan.disbursed_on)
    first = policy.first_claim_day(loan.overdue_since, measures).isoformat()
    uphold(policy.has_waited(loan.overdue_since, today, measures), ClaimTooEarly, first_possible_on=first)
    uphold(policy.is_reported(await is_reported(session, loan)), ClaimNotPossible)


async def is_reported(session: AsyncSession, loan: CoveredLoan) -> bool:
    """R-31: the overdue as it stands was reported."""
    query = select(col(CoveredLoan.loan_id)).where(col(CoveredLoan.loan_id) == loan.loan_id, reported())
    return (await session.execute(query)).first() is not None


async def _new_claim(session: AsyncSession, loan: CoveredLoan, today: date) -> Claim:
    same = (
        "loan_id", "uscc", "enterprise_name", "institution_id", "institution_name", "guarantor_id",
        "guarantor_name", "overdue_since",
    )  # fmt: skip
    number = (await session.execute(select(numbered("C", "claim_number", today)))).scalar_one()
    return Claim(
        id=new_id(),
        number=number,
        loan_number=loan.number,
        measures=measures_on(loan.disbursed_on).version,
        state="submitted",
        submitted_on=today,
        figures=0,
        **{name: getattr(loan, name) for name in same},
    )


def announce_submission(session: AsyncSession, claim: Claim, today: date) -> None:
    """Say that the claim awaits the conference, with its figures."""
    announce(
        session,
        ClaimSubmitted(
            **about(claim, today),
            claimed_on=claim.claimed_on,
            principal=claim.principal_fen,
            interest=claim.interest_fen,
        ),
    )
