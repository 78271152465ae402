"""Every other question: one claim whole (R-45), and the lists of claims, recoveries and write-offs (R-80)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlmodel import col
from starlette.responses import Response

from services.compensation.claim import DECIDED_FOR, Ballot, Claim, Payment, Receipt, Recovery, WriteOff
from services.compensation.covered_loan import CoveredLoan
from services.compensation.docket import no_such_case
from services.compensation.shown import ClaimShown, RecoveryShown, WriteOffShown, recovery_shown, show
from shared.database import yuan
from shared.identity import Principal
from shared.money import Money
from shared.pages import Cursor, Limit, Page, page
from shared.problems import NotFound, refusals
from shared.service import Caller, Session, Today, router

steps = router("claims")
State = Literal[
    "submitted", "meeting", "returned", "withdrawn", "lapsed", "declined", "approved", "cancelled", "paid",
    "written_off",
]  # fmt: skip
Open = Literal["ballots", "payout", "credit_record"]


class ClaimListed(BaseModel):
    """A claim in a list. Until the approval the shares are those of R-42, before any cut."""

    id: UUID
    number: str
    state: State
    loan_id: UUID
    loan_number: str
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    guarantor_id: UUID | None
    guarantor_name: str | None
    security_type: str
    submitted_on: date
    claimed_on: date
    principal: Money
    interest: Money
    fund: Money
    guarantor: Money
    institution: Money
    cut: Money
    approved_on: date | None
    payout_due_on: date | None
    paid_on: date | None
    closed_on: date | None
    fund_payment_open: bool
    guarantor_payment_open: bool
    credit_record_open: bool


class Wanted(BaseModel):
    """Filters of the list of claims."""

    state: State | None = None
    loan_id: UUID | None = None
    institution_id: UUID | None = None
    guarantor_id: UUID | None = None
    uscc: str | None = None


FUND = col(Claim.fund_principal_fen) + col(Claim.fund_interest_fen)
GUARANTOR = col(Claim.guarantor_principal_fen) + col(Claim.guarantor_interest_fen)
INSTITUTION = col(Claim.institution_principal_fen) + col(Claim.institution_interest_fen)


def _unpaid(payer: str, share: ColumnElement[int]) -> ColumnElement[bool]:
    paid = exists().where(col(Payment.claim_id) == col(Claim.id), col(Payment.payer) == payer)
    return and_(col(Claim.state) == "approved", share > 0, ~paid)


CREDIT_RECORD_OPEN = and_(col(Claim.state).in_(DECIDED_FOR), col(Claim.credit_recorded_on).is_(None))
SHOWN: dict[str, Any] = {
    "principal": yuan(col(Claim.principal_fen)),
    "interest": yuan(col(Claim.interest_fen)),
    "fund": yuan(FUND),
    "guarantor": yuan(GUARANTOR),
    "institution": yuan(INSTITUTION),
    "cut": yuan(col(Claim.cut_fen)),
    "fund_payment_open": _unpaid("fund", FUND),
    "guarantor_payment_open": _unpaid("guarantor", GUARANTOR),
    "credit_record_open": CREDIT_RECORD_OPEN,
}


def own(who: Principal) -> list[ColumnElement[bool]]:
    """The filter on claims for those who see only their own, by the kind of party they are."""
    if who.whose == "all":
        return []
    if "enterprise" in who.roles:
        return [col(Claim.uscc) == who.party]
    column = col(Claim.guarantor_id) if "guarantor" in who.roles else col(Claim.institution_id)
    return [column == who.party_id]


def _still_open(what: Open | None, who: Principal) -> list[ColumnElement[bool]]:
    """R-80: what waits for the caller."""
    if what == "ballots":
        voted = exists().where(col(Ballot.case_id) == col(Claim.id), col(Ballot.unit) == who.party)
        return [col(Claim.state).in_(("submitted", "meeting")), ~voted]
    if what == "credit_record":
        return [CREDIT_RECORD_OPEN]
    if what is None:
        return []
    if "finance" in who.roles:
        return [_unpaid("fund", FUND)]
    if "guarantor" in who.roles:
        return [_unpaid("guarantor", GUARANTOR)]
    return [col(Claim.state) == "approved"]


@steps.get("/v1/claims", operation_id="list_claims", response_model=Page[ClaimListed])
async def list_claims(
    session: Session,
    who: Caller,
    wanted: Annotated[Wanted, Query()],
    open_for: Annotated[Open | None, Query(alias="open", description="Only what waits for this.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Claims, the newest first."""
    columns = [SHOWN[n].label(n) if n in SHOWN else getattr(Claim, n) for n in ClaimListed.model_fields]
    chosen = [getattr(Claim, n) == value for n, value in wanted.model_dump(exclude_none=True).items()]
    query = select(*columns).where(*own(who), *chosen, *_still_open(open_for, who))
    return await page(session, query, order=[col(Claim.id)], limit=limit, cursor=cursor, descending=True)


@steps.get("/v1/claims/{claim_id}", operation_id="get_claim", responses=refusals(NotFound))
async def get_claim(claim_id: UUID, session: Session, who: Caller, today: Today) -> ClaimShown:
    """A claim whole: loan, reports, loss, shares, cap headroom, ballots, payments, recoveries, trace."""
    query = select(Claim, CoveredLoan).join(CoveredLoan, col(CoveredLoan.loan_id) == col(Claim.loan_id))
    found = (await session.execute(query.where(col(Claim.id) == claim_id, *own(who)))).first()
    if found is None:
        raise no_such_case()
    return await show(session, found[0], found[1], today, who)


def _share_open(party: str) -> ColumnElement[bool]:
    share = col(Recovery.fund_fen) if party == "fund" else col(Recovery.guarantor_fen)
    told = exists().where(col(Receipt.recovery_id) == col(Recovery.id), col(Receipt.party) == party)
    return and_(share != 0, ~told)


class RecoveryListed(BaseModel):
    """A recovery in a list, with the parties whose share is not confirmed yet."""

    id: UUID
    number: str
    claim_id: UUID
    claim_number: str
    gross: Money
    costs: Money
    received_on: date
    voucher: str
    state: Literal["recorded", "shared", "void"]
    shared_on: date | None
    fund: Money | None
    guarantor: Money | None
    institution: Money | None
    fund_open: bool
    guarantor_open: bool


RECOVERY_SHOWN: dict[str, Any] = {
    **{
        n: yuan(getattr(Recovery, f"{n}_fen")) for n in ("gross", "costs", "fund", "guarantor", "institution")
    },
    "claim_number": col(Claim.number),
    "fund_open": func.coalesce(_share_open("fund"), False),
    "guarantor_open": func.coalesce(_share_open("guarantor"), False),
}


@steps.get("/v1/recoveries", operation_id="list_recoveries", response_model=Page[RecoveryListed])
async def list_recoveries(
    session: Session,
    who: Caller,
    claim_id: UUID | None = None,
    open_only: Annotated[
        bool, Query(alias="open", description="Only with a share not confirmed yet.")
    ] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Recoveries, the newest first."""
    columns = [
        (RECOVERY_SHOWN[n] if n in RECOVERY_SHOWN else getattr(Recovery, n)).label(n)
        for n in RecoveryListed.model_fields
    ]
    query = select(*columns).join(Claim, col(Claim.id) == col(Recovery.claim_id)).where(*own(who))
    if claim_id is not None:
        query = query.where(col(Recovery.claim_id) == claim_id)
    if open_only:
        mine = [p for p, role in (("fund", "finance"), ("guarantor", "guarantor")) if role in who.roles]
        query = query.where(or_(*(_share_open(party) for party in mine or ("fund", "guarantor"))))
    return await page(session, query, order=[col(Recovery.id)], limit=limit, cursor=cursor, descending=True)


@steps.get("/v1/recoveries/{recovery_id}", operation_id="get_recovery", responses=refusals(NotFound))
async def get_recovery(recovery_id: UUID, session: Session, who: Caller) -> RecoveryShown:
    """A recovery, its shares, and whose receipt is confirmed."""
    query = select(Recovery).join(Claim, col(Claim.id) == col(Recovery.claim_id))
    row = (
        await session.execute(query.where(col(Recovery.id) == recovery_id, *own(who)))
    ).scalar_one_or_none()
    if row is None:
        raise no_such_case()
    receipts = await session.execute(select(Receipt).where(col(Receipt.recovery_id) == recovery_id))
    return recovery_shown(row, receipts.scalars().all())


@steps.get("/v1/write-offs", operation_id="list_write_offs", response_model=Page[WriteOffShown])
async def list_write_offs(
    session: Session,
    who: Caller,
    state: Literal["requested", "approved", "declined"] | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Write-offs, the newest first."""
    money = ("fund", "guarantor", "institution")
    columns = [
        yuan(getattr(WriteOff, f"{n}_fen")).label(n) if n in money else getattr(WriteOff, n)
        for n in WriteOffShown.model_fields
    ]
    query = select(*columns).join(Claim, col(Claim.id) == col(WriteOff.claim_id)).where(*own(who))
    if state is not None:
        query = query.where(col(WriteOff.state) == state)
    return await page(session, query, order=[col(WriteOff.id)], limit=limit, cursor=cursor, descending=True)
