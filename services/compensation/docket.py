"""Taking a case in hand: found, one's own, and locked in the one order.

The order is: the loan's row, which guards all its claims and everything of theirs; then the fund; then the
institution's year. Lending's facts take the loan's row too when they are remembered, so a fact and a command
about one loan come one after the other, and nobody who holds the fund ever waits for a loan.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.compensation.claim import Claim, Recovery, WriteOff
from services.compensation.covered_loan import CoveredLoan, hold_loan
from shared.events import AboutLoan
from shared.identity import Principal
from shared.problems import NotFound
from shared.rules import Text

BY = "系统 system"
"""Who acts when lending's facts move a claim."""
Document = Annotated[str, Field(min_length=1, max_length=200)]
"""The number of a paper: a voucher, an allotment, a registration."""


def no_such_case() -> NotFound:
    return NotFound(Text("未找到这一案件", "No such case"))


async def take_up(session: AsyncSession, claim_id: UUID, who: Principal) -> tuple[Claim, CoveredLoan]:
    """The claim and its loan, held until the transaction ends. NotFound when it is not the caller's."""
    return await _held(session, select(Claim).where(col(Claim.id) == claim_id), who)


async def take_up_recovery(
    session: AsyncSession, recovery_id: UUID, who: Principal
) -> tuple[Claim, Recovery]:
    """The claim of a recovery, and the recovery, held until the transaction ends."""
    query = select(Claim).join(Recovery, col(Recovery.claim_id) == col(Claim.id))
    claim, _ = await _held(session, query.where(col(Recovery.id) == recovery_id), who)
    return claim, await session.get_one(Recovery, recovery_id)


async def take_up_write_off(
    session: AsyncSession, write_off_id: UUID, who: Principal
) -> tuple[Claim, WriteOff]:
    """The claim of a write-off, and the write-off, held until the transaction ends."""
    query = select(Claim).join(WriteOff, col(WriteOff.claim_id) == col(Claim.id))
    claim, _ = await _held(session, query.where(col(WriteOff.id) == write_off_id), who)
    return claim, await session.get_one(WriteOff, write_off_id)


async def _held(session: AsyncSession, query: Select[Claim], who: Principal) -> tuple[Claim, CoveredLoan]:
    claim = (await session.execute(query)).scalar_one_or_none()
    if claim is None:
        raise no_such_case()
    who.only_own(claim.institution_id, claim.guarantor_id, claim.uscc)
    loan = await hold_loan(session, claim.loan_id)
    await session.refresh(claim)  # another may have moved it while we waited for the loan
    return claim, loan


async def claims_of(
    session: AsyncSession, events: Sequence[Any], states: Iterable[str]
) -> AsyncIterator[tuple[Claim, Any]]:
    """The claims in these states on the events' loans, each with the events of its loan in order."""
    by_loan: dict[Any, list[AboutLoan]] = {}
    for event in events:
        by_loan.setdefault(event.loan_id, []).append(event)
    with_claims = select(col(Claim.loan_id)).where(col(Claim.loan_id).in_(by_loan)).distinct()
    for loan_id in sorted((await session.execute(with_claims)).scalars().all()):
        await hold_loan(session, loan_id)
    query = select(Claim).where(col(Claim.loan_id).in_(by_loan), col(Claim.state).in_(tuple(states)))
    query = query.order_by(col(Claim.id)).execution_options(populate_existing=True)
    for claim in (await session.execute(query)).scalars().all():
        yield claim, by_loan[claim.loan_id]


def about(claim: Claim, today: date) -> dict[str, Any]:
    """The members every event about a claim has."""
    return {
        "business_date": today,
        "measures": claim.measures,
        "claim_id": claim.id,
        "claim_number": claim.number,
        "loan_id": claim.loan_id,
        "uscc": claim.uscc,
        "enterprise_name": claim.enterprise_name,
        "institution_id": claim.institution_id,
        "institution_name": claim.institution_name,
        "guarantor_id": claim.guarantor_id,
    }
