"""Could this loan be claimed today, from when on, and who would bear what (R-34)?"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import select, text
from sqlmodel import col
from starlette.requests import Request

from services.compensation import institution_year, policy
from services.compensation.claim import LIVE, Claim
from services.compensation.covered_loan import CoveredLoan
from services.compensation.docket import no_such_case
from services.compensation.figures import computed_loss
from services.compensation.shown import SplitShown, split_shown
from services.compensation.submission import is_reported
from shared.measures import measures_on
from shared.money import Money
from shared.problems import NotFound, language_of, refusals
from shared.rules import Language, Verdict, refuse
from shared.service import Caller, News, Session, Today, router

steps = router("claims")


class Condition(BaseModel):
    """One condition of a claim: the rule and article it rests on, and whether it is met."""

    rule: str
    article: str
    met: bool
    reason: str


class Readiness(BaseModel):
    """Whether the loan can be claimed today. Figures are those of a claim made today (R-41 to R-43)."""

    loan_id: UUID
    on: date
    ready: bool
    conditions: list[Condition]
    first_possible_on: date | None = Field(description="R-40; null while nothing is overdue.")
    principal: Money
    interest: Money
    split: SplitShown
    cut: Money


@steps.get(
    "/v1/loans/{loan_id}/claim-readiness",
    operation_id="get_claim_readiness",
    responses=refusals(NotFound),
)
async def get_claim_readiness(
    loan_id: UUID, session: Session, who: Caller, today: Today, news: News, request: Request
) -> Readiness:
    """Which conditions of a claim are met, the first possible day, and who would bear what today."""

    async def find() -> CoveredLoan | None:
        loan = await session.get(CoveredLoan, loan_id)
        if loan and who.owns(loan.institution_id, loan.guarantor_id, loan.uscc):
            return loan
        await session.close()  # who waits holds no connection meanwhile: anybody can ask for what is not
        return None

    loan = await news.wait_for(find)
    if loan is None:
        raise no_such_case()
    verdicts = await _conditions(session, loan, today)
    measures = measures_on(loan.disbursed_on)
    loss = computed_loss(loan, today)
    whole = policy.split(loss, measures.shares_for(loan.security_type))
    cleared = await institution_year.cleared(session, loan.institution_id, today.year)
    split = policy.cut_to(whole, policy.headroom(cleared, measures))
    since = loan.overdue_since
    return Readiness(
        loan_id=loan.loan_id,
        on=today,
        ready=all(verdicts),
        conditions=[_shown(verdict, language_of(request)) for verdict in verdicts],
        first_possible_on=policy.first_claim_day(since, measures) if since else None,
        principal=loss.principal_fen,
        interest=loss.interest_fen,
        split=split_shown(split),
        cut=whole.fund_fen - split.fund_fen,
    )


async def _conditions(session: Session, loan: CoveredLoan, today: date) -> list[Verdict]:
    """Every condition of R-40, each by the rule that decides it."""
    live = select(col(Claim.number)).where(col(Claim.loan_id) == loan.loan_id, text(LIVE))
    number = (await session.execute(live)).scalar_one_or_none()
    since = loan.overdue_since
    return [
        policy.is_covered(loan.cover),
        policy.is_overdue(since),
        policy.is_reported(since is not None and await is_reported(session, loan)),
        policy.has_waited(since, today, measures_on(loan.disbursed_on)) if since else _nothing_to_count(),
        policy.is_unclaimed(number),
        policy.is_a_loss(computed_loss(loan, today)),
    ]


def _nothing_to_count() -> Verdict:
    return refuse(
        "R-40", "M-七(一)", "没有逾期，不计等待期", "Nothing is overdue: no waiting days are counted"
    )


def _shown(verdict: Verdict, language: Language) -> Condition:
    return Condition(
        rule=verdict.rule, article=verdict.article, met=verdict.allowed, reason=verdict.reason.say(language)
    )
