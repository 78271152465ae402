"""The institution records what it recovered after the approval: gross, costs, day, voucher (R-60).

Before the payout is complete a recovery is recorded and waits; then it is shared (recovery_sharing.py), and
the shares of fund and guarantor stand open until their receipt is confirmed (receipt.py).
"""

from __future__ import annotations

from datetime import date
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.responses import Response

from services.compensation import policy
from services.compensation.claim import DECIDED_FOR, Claim, Recovery
from services.compensation.docket import Document, take_up
from services.compensation.recovery_sharing import Recovered, add_recovery
from services.compensation.shown import RecoveryShown, recovery_shown
from shared.money import NonNegative
from shared.problems import NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("recoveries")


class RecordRecovery(BaseModel):
    """Money recovered, what its enforcement cost, the day it came in, and its voucher."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {
                    "gross": "105000.00",
                    "costs": "5000.00",
                    "received_on": "2026-06-10",
                    "voucher": "（2026）浙0482执123号",
                }
            ]
        },
    )

    gross: NonNegative
    costs: NonNegative
    received_on: date
    voucher: Document

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.gross and not self.costs:
            raise PydanticCustomError("money_nothing", "回收额和费用不能都为零; gross or costs above zero")
        return self


class NotApproved(Refusal):
    """Before the approval money received is a repayment, not a recovery (R-27, R-60)."""

    title = Text("尚未通过，不能登记追偿", "Not a recovery yet")


class VoucherUsed(Refusal):
    """A recovery with this voucher is on record (R-60)."""

    title = Text("凭证已登记", "Voucher used")


class RecoveryDayImpossible(Refusal):
    """Recovered in the future, or before the loan was even overdue (R-60)."""

    status = 422
    title = Text("回收日期不符", "Impossible day of recovery")


@steps.post(
    "/v1/claims/{claim_id}/recoveries",
    operation_id="record_recovery",
    status_code=201,
    responses=refusals(NotApproved, VoucherUsed, RecoveryDayImpossible, NotFound),
)
async def record_recovery(
    claim_id: UUID, body: RecordRecovery, session: Session, who: Caller, today: Today, response: Response
) -> RecoveryShown:
    """Record a recovery; it is shared at once, or when the payout is complete."""
    claim, _ = await take_up(session, claim_id, who)
    await _recordable(session, claim, body, today)
    money = Recovered(body.gross, body.costs, body.received_on, body.voucher, who.name)
    recovery = await add_recovery(session, claim, money, today)
    response.headers["Location"] = f"/v1/recoveries/{recovery.id}"
    return recovery_shown(recovery, [])


async def _recordable(session: AsyncSession, claim: Claim, body: RecordRecovery, today: date) -> None:
    if claim.state not in DECIDED_FOR:
        raise NotApproved(
            Text(
                "代偿申请尚未通过：收到的款项请按还款登记",
                "The claim is not approved: record money received as a repayment",
            ),
            rule="R-60",
            article="M-七(二)",
        )
    day = policy.within(body.received_on, claim.overdue_since, today, "R-60", "M-七(二)")
    uphold(day, RecoveryDayImpossible, errors=[{"pointer": "#/received_on", "detail": day.reason}])
    same = select(col(Recovery.number)).where(
        col(Recovery.claim_id) == claim.id, col(Recovery.voucher) == body.voucher
    )
    known = (await session.execute(same)).scalar_one_or_none()
    if known is not None:
        raise VoucherUsed(
            Text(f"该凭证已登记为 {known}", f"Recovery {known} has this voucher"),
            rule="R-60",
            article="M-七(二)",
        )
