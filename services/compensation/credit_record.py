"""The institution confirms that the default stands in the credit registry (R-51)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from services.compensation import policy
from services.compensation.claim import DECIDED_FOR, trace
from services.compensation.docket import Document, about, take_up
from services.compensation.shown import ClaimShown, show
from shared.events import CreditRecordConfirmed
from shared.outbox import announce
from shared.problems import NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("claims")


class ConfirmCreditRecord(BaseModel):
    """The day the default of the enterprise and its legal representative was registered, and where."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"recorded_on": "2026-03-25", "reference": "ZX-2026-0088"}]},
    )

    recorded_on: date
    reference: Document


class NoSuchDuty(Refusal):
    """The claim is not approved, or the duty is done (R-51)."""

    title = Text("没有待办的征信登记", "No open duty")


class RecordDayImpossible(Refusal):
    """Registered before the loan was overdue, or in the future (R-51)."""

    status = 422
    title = Text("登记日期不符", "Impossible day of registration")


@steps.post(
    "/v1/claims/{claim_id}/credit-record",
    operation_id="confirm_credit_record",
    responses=refusals(NoSuchDuty, RecordDayImpossible, NotFound),
)
async def confirm_credit_record(
    claim_id: UUID, body: ConfirmCreditRecord, session: Session, who: Caller, today: Today
) -> ClaimShown:
    """Confirm the registration of the default; the open duty ends."""
    claim, loan = await take_up(session, claim_id, who)
    if claim.state not in DECIDED_FOR or claim.credit_recorded_on is not None:
        done = claim.credit_recorded_on
        words = (
            Text(f"已于 {done} 登记", f"Registered on {done}")
            if done
            else Text("代偿申请通过后才须登记", "The duty begins with the approval")
        )
        raise NoSuchDuty(words, rule="R-51", article="M-五(三)")
    day = policy.within(body.recorded_on, claim.overdue_since, today, "R-51", "M-五(三)")
    uphold(day, RecordDayImpossible, errors=[{"pointer": "#/recorded_on", "detail": day.reason}])
    claim.credit_recorded_on, claim.credit_reference = body.recorded_on, body.reference
    trace(session, claim, "credit_record", day=today, by=who.name, facts={"reference": body.reference})
    announce(
        session,
        CreditRecordConfirmed(**about(claim, today), recorded_on=body.recorded_on, reference=body.reference),
    )
    await session.flush()
    return await show(session, claim, loan, today, who)
