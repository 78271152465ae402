"""Finance puts money into the fund, and everybody who watches it reads its ledger (R-48)."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlmodel import col
from starlette.responses import Response

from services.compensation import fund, policy
from services.compensation.docket import Document
from services.compensation.fund import FundEntry, Kind, Voucher
from shared.database import yuan
from shared.money import Amount, Money
from shared.pages import Cursor, Limit, Page, page
from shared.problems import Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("fund")


class AppropriateFunds(BaseModel):
    """Money for the fund, and the document it was allotted by; without a day it came in today."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"amount": "20000000.00", "document": "平财预〔2026〕18号"}]},
    )

    amount: Amount
    document: Document
    appropriated_on: date | None = None


class FundShown(BaseModel):
    """The accounts at the end of `on`: appropriated + recovered = available + reserved + paid."""

    on: date
    appropriated: Money
    recovered: Money
    available: Money
    reserved: Money
    paid: Money
    written_off: Money


class FundEntryShown(BaseModel):
    """One movement: the amount went from one account to the other."""

    id: int
    kind: Kind
    from_account: str
    to_account: str
    amount: Money
    booked_on: date
    value_date: date
    claim_id: UUID | None
    recovery_id: UUID | None
    document: str
    recorded_by: str


class AppropriationDayImpossible(Refusal):
    """Appropriated in the future (R-48)."""

    status = 422
    title = Text("拨款日期不符", "Impossible day of the appropriation")


@steps.post(
    "/v1/fund/appropriations",
    operation_id="appropriate_funds",
    status_code=201,
    responses=refusals(AppropriationDayImpossible),
)
async def appropriate_funds(
    body: AppropriateFunds, session: Session, who: Caller, today: Today, response: Response
) -> FundEntryShown:
    """Put money into the fund: it is available at once."""
    value_date = body.appropriated_on or today
    day = policy.within(value_date, None, today, "R-48", "M-五(一)")
    uphold(day, AppropriationDayImpossible, errors=[{"pointer": "#/appropriated_on", "detail": day.reason}])
    await fund.lock(session)
    entry = fund.book(
        session, "appropriation", body.amount, today, Voucher(value_date, body.document, who.name)
    )
    await session.flush()
    response.headers["Location"] = "/v1/fund/entries"
    return FundEntryShown(**entry.model_dump(exclude={"amount_fen", "recorded_at"}), amount=entry.amount_fen)


@steps.get("/v1/fund", operation_id="get_fund")
async def get_fund(
    session: Session,
    today: Today,
    on: Annotated[
        date | None, Query(description="As of the end of this business day; today without it.")
    ] = None,
) -> FundShown:
    """The fund's accounts, each the sum of its entries."""
    sums = await fund.balances(session, on)
    return FundShown(on=on or today, **{name: getattr(sums, name) for name in sums.__slots__})


@steps.get("/v1/fund/entries", operation_id="list_fund_entries", response_model=Page[FundEntryShown])
async def list_fund_entries(
    session: Session, claim_id: UUID | None = None, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The fund's movements, the newest first."""
    same = [getattr(FundEntry, n) for n in FundEntryShown.model_fields if n != "amount"]
    query = select(*same, yuan(col(FundEntry.amount_fen)).label("amount"))
    if claim_id is not None:
        query = query.where(col(FundEntry.claim_id) == claim_id)
    order = [col(FundEntry.id)]
    return await page(session, query, order=order, limit=limit, cursor=cursor, descending=True)
