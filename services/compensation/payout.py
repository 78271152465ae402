"""Fund and guarantor pay their shares, each once, with day and voucher (R-47).

A share of nothing needs no payment. Where R-43 cut the fund's share to nothing, the fund never pays: the
claim is `paid` with the guarantor's payment, or with the approval itself when nobody but the institution
bears anything, and `CompensationPaid` tells no day of the fund's.
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.responses import Response

from services.compensation import fund, policy, recovery_sharing
from services.compensation.claim import DECIDED_FOR, MOVES, Claim, Payment, move, trace
from services.compensation.docket import Document, about, take_up
from services.compensation.shown import ClaimShown, show
from shared.events import CompensationPaid
from shared.money import format_money
from shared.outbox import announce
from shared.problems import IllegalMove, NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("claims")


class RecordPayment(BaseModel):
    """The payer's own share, in full: the day it was paid and its voucher."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"paid_on": "2026-03-20", "voucher": "支付令2026-0312"}]},
    )

    paid_on: date
    voucher: Document


class PaidTwice(Refusal):
    """This share has been paid (R-47)."""

    title = Text("该份额已支付", "Paid already")


class NothingToPay(Refusal):
    """The payer's share of this claim is nothing (R-42, R-43)."""

    title = Text("没有应支付的份额", "Nothing to pay")


class PaymentDayImpossible(Refusal):
    """Paid before the approval, or in the future (R-47)."""

    status = 422
    title = Text("支付日期不符", "Impossible day of payment")


@steps.post(
    "/v1/claims/{claim_id}/payments",
    operation_id="record_payment",
    status_code=201,
    responses=refusals(PaidTwice, NothingToPay, PaymentDayImpossible, IllegalMove, NotFound),
)
async def record_payment(
    claim_id: UUID, body: RecordPayment, session: Session, who: Caller, today: Today, response: Response
) -> ClaimShown:
    """Finance records the fund's payment, the guarantor its own. When all is paid the claim is `paid`."""
    claim, loan = await take_up(session, claim_id, who)
    payer = "fund" if "finance" in who.roles else "guarantor"
    amount = getattr(claim.borne, f"{payer}_fen")
    await _payable(session, claim, payer, amount, body.paid_on, today)
    if payer == "fund":
        await fund.lock(session)
        voucher = fund.Voucher(body.paid_on, body.voucher, who.name)
        fund.book(session, "payment", amount, today, voucher, claim_id=claim.id)
    session.add(
        Payment(
            claim_id=claim.id,
            payer=payer,
            amount_fen=amount,
            paid_on=body.paid_on,
            voucher=body.voucher,
            recorded_on=today,
            recorded_by=who.name,
        )
    )
    trace(session, claim, f"payment:{payer}", day=today, by=who.name, facts={"amount": format_money(amount)})
    await session.flush()
    await complete_when_all_paid(session, claim, today, who.name)
    await session.flush()
    response.headers["Location"] = f"/v1/claims/{claim.id}"
    return await show(session, claim, loan, today, who)


async def _payable(
    session: AsyncSession, claim: Claim, payer: str, amount_fen: int, paid_on: date, today: date
) -> None:
    paid = await session.get(Payment, (claim.id, payer))
    if paid is not None:
        raise PaidTwice(
            Text(
                f"已于 {paid.paid_on} 支付 {format_money(paid.amount_fen)}，凭证 {paid.voucher}",
                f"Paid on {paid.paid_on}: {format_money(paid.amount_fen)}, voucher {paid.voucher}",
            ),
            rule="R-47",
            article="M-七(一)",
        )
    if claim.state in DECIDED_FOR and amount_fen == 0:
        raise NothingToPay(
            Text("该份额为零，无须支付", "The share is nothing: no payment is due"),
            rule="R-47",
            article="M-七(一)",
        )
    MOVES.after(claim.state, "pay", rule="R-47")
    day = policy.within(paid_on, claim.approved_on, today, "R-47", "M-七(一)")
    uphold(day, PaymentDayImpossible, errors=[{"pointer": "#/paid_on", "detail": day.reason}])


async def payments_of(session: AsyncSession, claim: Claim) -> dict[str, Payment]:
    """What was paid so far, by payer."""
    rows = (await session.execute(select(Payment).where(col(Payment.claim_id) == claim.id))).scalars()
    return {row.payer: row for row in rows}


async def complete_when_all_paid(session: AsyncSession, claim: Claim, today: date, by: str) -> None:
    """The claim is `paid` once fund and guarantor have paid what they bear; recoveries recorded before
    are shared now (R-60)."""
    paid = await payments_of(session, claim)
    due = {"fund": claim.borne.fund_fen, "guarantor": claim.borne.guarantor_fen}
    if any(amount and payer not in paid for payer, amount in due.items()):
        return
    assert claim.approved_on is not None
    claim.paid_on = max([claim.approved_on, *(payment.paid_on for payment in paid.values())])
    move(session, claim, "pay", day=today, by=by, rule="R-47")
    announce(
        session,
        CompensationPaid(
            **about(claim, today),
            fund_paid=due["fund"],
            guarantor_paid=due["guarantor"],
            fund_paid_on=paid["fund"].paid_on if "fund" in paid else None,
            paid_on=claim.paid_on,
        ),
    )
    await recovery_sharing.share_waiting(session, claim, today)
