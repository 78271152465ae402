"""The office decides on a rate above the cap (R-22): accepted, the loan is covered from then on; refused,
it is no scheme loan and its amount is free again under the ceiling."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.lending import account_rows, exposure
from services.lending.account import about
from services.lending.loan import RateException
from services.lending.shown import LoanShown, loan_shown
from shared.events import RateExceptionDecided
from shared.outbox import announce
from shared.problems import IllegalMove, NotFound, refusals
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("loans")


class DecideRateException(BaseModel):
    """The office's decision, and why."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [{"decision": "accepted", "reason": "抵押物处置周期长，会议研究同意"}]
        },
    )

    decision: Literal["accepted", "refused"]
    reason: str = Field(default="", max_length=512)


@steps.post(
    "/v1/loans/{loan_id}/rate-exception",
    operation_id="decide_rate_exception",
    responses=refusals(IllegalMove, NotFound),
)
async def decide_rate_exception(
    loan_id: UUID, body: DecideRateException, session: Session, who: Caller, today: Today
) -> LoanShown:
    """Accept or refuse the rate of a filing that waits as `exception_pending`."""
    held = (await account_rows.load(session, [loan_id])).get(loan_id)
    if held is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    loan, accepted = held.loan, body.decision == "accepted"
    held.move("accept_rate" if accepted else "refuse_rate", "R-22")
    loan.version += 1
    if not accepted:
        await exposure.change(session, {loan.uscc: -loan.outstanding_fen})
    session.add(
        RateException(
            loan_id=loan.id,
            decision=body.decision,
            reason=body.reason,
            decided_on=today,
            decided_by=who.name,
        )
    )
    announce(session, RateExceptionDecided(accepted=accepted, **about(loan, today)))
    return loan_shown(loan)
