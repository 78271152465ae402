"""Finance and guarantor confirm their share of a recovery (R-60).

The fund's share enters its ledger here: only now is the money in the fund. A negative share, owed towards
costs above the gross, leaves the fund here, when finance has paid it.
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.responses import Response

from services.compensation import fund, policy
from services.compensation.claim import Receipt, Recovery, trace
from services.compensation.docket import Document, take_up_recovery
from services.compensation.shown import RecoveryShown, recovery_shown
from shared.money import format_money
from shared.problems import NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("recoveries")


class ConfirmReceipt(BaseModel):
    """The day the caller's share came in (or, owed towards costs, was paid), and its voucher."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"received_on": "2026-06-12", "voucher": "进账单0612"}]},
    )

    received_on: date
    voucher: Document


class NothingOpen(Refusal):
    """The caller's share of this recovery is nothing, not shared yet, or confirmed already (R-60)."""

    title = Text("没有待确认的份额", "Nothing open")


class ReceiptDayImpossible(Refusal):
    """Received before it was recovered, or in the future (R-60)."""

    status = 422
    title = Text("到账日期不符", "Impossible day of receipt")


@steps.post(
    "/v1/recoveries/{recovery_id}/receipts",
    operation_id="confirm_receipt",
    status_code=201,
    responses=refusals(NothingOpen, ReceiptDayImpossible, fund.FundInsufficient, NotFound),
)
async def confirm_receipt(
    recovery_id: UUID, body: ConfirmReceipt, session: Session, who: Caller, today: Today, response: Response
) -> RecoveryShown:
    """Confirm the receipt of the caller's share: finance for the fund, the guarantor for itself."""
    claim, recovery = await take_up_recovery(session, recovery_id, who)
    party = "fund" if "finance" in who.roles else "guarantor"
    amount = await _open_share(session, recovery, party)
    day = policy.within(body.received_on, recovery.received_on, today, "R-60", "M-七(二)")
    uphold(day, ReceiptDayImpossible, errors=[{"pointer": "#/received_on", "detail": day.reason}])
    if party == "fund":
        await _book(session, recovery, amount, today, fund.Voucher(body.received_on, body.voucher, who.name))
    session.add(
        Receipt(
            recovery_id=recovery.id,
            party=party,
            amount_fen=amount,
            received_on=body.received_on,
            voucher=body.voucher,
            confirmed_on=today,
            confirmed_by=who.name,
        )
    )
    facts = {"number": recovery.number, "amount": format_money(amount)}
    trace(session, claim, f"receipt:{party}", day=today, by=who.name, facts=facts)
    await session.flush()
    rows = await session.execute(select(Receipt).where(col(Receipt.recovery_id) == recovery.id))
    response.headers["Location"] = f"/v1/recoveries/{recovery.id}"
    return recovery_shown(recovery, rows.scalars().all())


async def _open_share(session: AsyncSession, recovery: Recovery, party: str) -> int:
    share: int | None = getattr(recovery, f"{party}_fen")
    confirmed = await session.get(Receipt, (recovery.id, party))
    if share and confirmed is None:
        return share
    if confirmed is not None:
        words = Text(f"已于 {confirmed.received_on} 确认", f"Confirmed on {confirmed.received_on}")
    elif share is None:
        words = Text("待代偿款全部支付后分配", "It is shared when the payout is complete")
    else:
        words = Text("该份额为零", "The share is nothing")
    raise NothingOpen(words, rule="R-60", article="M-七(二)")


async def _book(
    session: AsyncSession, recovery: Recovery, amount_fen: int, today: date, voucher: fund.Voucher
) -> None:
    await fund.lock(session)
    about = {"claim_id": recovery.claim_id, "recovery_id": recovery.id}
    if amount_fen > 0:
        fund.book(session, "recovery", amount_fen, today, voucher, **about)
        return
    available = (await fund.balances(session)).available
    uphold(
        policy.fund_suffices(available, -amount_fen), fund.FundInsufficient, available=format_money(available)
    )
    fund.book(session, "cost_share", -amount_fen, today, voucher, **about)
