"""The final loss is written off once finance approves (R-61). A later recovery is still shared (R-60).

The final loss of each party is what it bore minus what recoveries gave it. It is final only when the shares
of earlier recoveries are settled: as long as one stands open, the write-off waits.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.responses import Response

from services.compensation import fund, policy
from services.compensation.claim import MOVES, Claim, WriteOff, move, trace
from services.compensation.docket import Document, about, take_up, take_up_write_off
from services.compensation.policy import Parts
from services.compensation.recovery_sharing import shared_so_far
from services.compensation.shown import WriteOffShown, recoveries_shown, write_off_shown
from shared.database import new_id
from shared.events import LossWrittenOff
from shared.outbox import announce
from shared.problems import IllegalMove, NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("write-offs")


class RequestWriteOff(BaseModel):
    """The ground, with the number and day of its evidence."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {
                    "ground": "enforcement_terminated",
                    "evidence_number": "（2026）浙0482执终45号",
                    "evidence_date": "2026-09-01",
                }
            ]
        },
    )

    ground: Literal["bankruptcy", "liquidation", "enforcement_terminated"]
    evidence_number: Document
    evidence_date: date


class DecideWriteOff(BaseModel):
    """Finance's decision; a reason when it declines."""

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, json_schema_extra={"examples": [{"decision": "approved"}]}
    )

    decision: Literal["approved", "declined"]
    reason: Annotated[str, Field(max_length=2000)] = ""


class AlreadyRequested(Refusal):
    """A write-off of this claim is requested or decided (R-61)."""

    title = Text("已申请核销", "Already requested")


class SharesOpen(Refusal):
    """Shares of earlier recoveries are not settled: the loss is not final yet (R-60, R-61)."""

    title = Text("追偿份额尚未结清", "Shares are open")


class EvidenceDayImpossible(Refusal):
    """The evidence is dated in the future (R-61)."""

    status = 422
    title = Text("证据日期不符", "Impossible day of the evidence")


class AlreadyDecided(Refusal):
    """Finance has decided on this write-off (R-61)."""

    title = Text("已作出决定", "Already decided")


@steps.post(
    "/v1/claims/{claim_id}/write-off",
    operation_id="request_write_off",
    status_code=201,
    responses=refusals(AlreadyRequested, EvidenceDayImpossible, IllegalMove, NotFound),
)
async def request_write_off(
    claim_id: UUID, body: RequestWriteOff, session: Session, who: Caller, today: Today, response: Response
) -> WriteOffShown:
    """Ask finance to write off the final loss of a paid claim."""
    claim, _ = await take_up(session, claim_id, who)
    live = select(col(WriteOff.state)).where(
        col(WriteOff.claim_id) == claim.id, col(WriteOff.state) != "declined"
    )
    if (state := (await session.execute(live)).scalar_one_or_none()) is not None:
        words = Text("该申请的核销正在办理或已完成", f"A write-off of this claim is {state}")
        raise AlreadyRequested(words, rule="R-61", article="M-七(二)")
    MOVES.after(claim.state, "write_off", rule="R-61")
    day = policy.within(body.evidence_date, None, today, "R-61", "M-七(二)")
    uphold(day, EvidenceDayImpossible, errors=[{"pointer": "#/evidence_date", "detail": day.reason}])
    row = WriteOff(
        id=new_id(),
        claim_id=claim.id,
        ground=body.ground,
        evidence_number=body.evidence_number,
        evidence_date=body.evidence_date,
        state="requested",
        requested_on=today,
        requested_by=who.name,
    )
    _set(row, await _final_loss(session, claim))
    session.add(row)
    trace(session, claim, "write_off_requested", day=today, by=who.name, facts={"ground": body.ground})
    await session.flush()
    response.headers["Location"] = f"/v1/claims/{claim.id}"
    return write_off_shown(row)


@steps.post(
    "/v1/write-offs/{write_off_id}/decision",
    operation_id="decide_write_off",
    responses=refusals(SharesOpen, AlreadyDecided, IllegalMove, NotFound),
)
async def decide_write_off(
    write_off_id: UUID, body: DecideWriteOff, session: Session, who: Caller, today: Today
) -> WriteOffShown:
    """Approve or decline a write-off. Approved, the final loss is that of today."""
    claim, row = await take_up_write_off(session, write_off_id, who)
    if row.state != "requested":
        words = Text(f"已于 {row.decided_on} 决定", f"Decided on {row.decided_on}: {row.state}")
        raise AlreadyDecided(words, rule="R-61", article="M-七(二)")
    row.state, row.decided_on, row.decided_by, row.reason = body.decision, today, who.name, body.reason
    if body.decision == "approved":
        await _write_off(session, claim, row, today, who.name)
    else:
        trace(session, claim, "write_off_declined", day=today, by=who.name, facts={"reason": body.reason})
    await session.flush()
    return write_off_shown(row)


async def _write_off(session: AsyncSession, claim: Claim, row: WriteOff, today: date, by: str) -> None:
    await _settled(session, claim)
    loss = await _final_loss(session, claim)
    _set(row, loss)
    if loss.fund_fen:
        await fund.lock(session)
        voucher = fund.Voucher(row.evidence_date, row.evidence_number, by)
        fund.book(session, "write_off", loss.fund_fen, today, voucher, claim_id=claim.id)
    move(session, claim, "write_off", day=today, by=by, rule="R-61", facts={"ground": row.ground})
    announce(
        session,
        LossWrittenOff(
            **about(claim, today),
            ground=row.ground,
            fund=loss.fund_fen,
            guarantor=loss.guarantor_fen,
            institution=loss.institution_fen,
        ),
    )


async def _settled(session: AsyncSession, claim: Claim) -> None:
    waiting = [row.number for row in await recoveries_shown(session, claim) if row.open_for]
    if waiting:
        numbers = "、".join(waiting)
        words = Text(f"请先确认追偿 {numbers} 的份额", f"Confirm the shares of {', '.join(waiting)} first")
        raise SharesOpen(words, rule="R-61", article="M-七(二)", recoveries=waiting)


async def _final_loss(session: AsyncSession, claim: Claim) -> Parts:
    return policy.final_loss(claim.borne, await shared_so_far(session, claim))


def _set(row: WriteOff, loss: Parts) -> None:
    row.fund_fen, row.guarantor_fen = loss.fund_fen, loss.guarantor_fen
    row.institution_fen = loss.institution_fen
