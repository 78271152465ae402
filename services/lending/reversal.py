"""A repayment is undone by its negative twin (冲正, R-27): never edited, never deleted.

The twin carries the value date of the repayment it names, so that the loan's history reads as if the
money had never come: what was due is due again, and an overdue count starts where it would have.
"""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.lending.posting import Line, NotReversible, ReferenceUsed
from services.lending.received import post_all
from services.lending.repayment import Reference, answer
from services.lending.shown import RepaymentShown
from shared.problems import IllegalMove, NotFound, refusals
from shared.service import Caller, Session, Today, router

steps = router("repayments")


class ReverseRepayment(BaseModel):
    """The reversal's own reference, and why."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"reference": "CZ-20260403-000001", "reason": "入账账号有误"}]},
    )

    reference: Reference
    reason: str = Field(min_length=1, max_length=512)


@steps.post(
    "/v1/loans/{loan_id}/repayments/{repayment_id}/reversal",
    operation_id="reverse_repayment",
    status_code=201,
    responses=refusals(NotReversible, ReferenceUsed, IllegalMove, NotFound),
)
async def reverse_repayment(
    loan_id: UUID,
    repayment_id: UUID,
    body: ReverseRepayment,
    session: Session,
    who: Caller,
    today: Today,
    response: Response,
) -> RepaymentShown:
    """Undo a repayment in full. The same reference again answers the same reversal, with 200."""
    line = Line(loan_id, body.reference, today, reverses=repayment_id, reason=body.reason)
    (outcome,) = await post_all(session, who.party_id, [line], today)
    return answer(outcome, response)
