"""The loan prime rate as published, entered by the office: what the rate cap is measured by (R-22)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import CheckConstraint, Numeric, cast, select
from sqlalchemy import Text as SqlText
from sqlmodel import Field, col
from starlette.responses import Response

from services.lending.loan import Table
from shared.clock import Day
from shared.money import Rate
from shared.pages import Cursor, Limit, Page, page
from shared.problems import InvalidInput, Refusal, refusals
from shared.rules import Text
from shared.service import Session, Today, router

steps = router("reference-rates")


class ReferenceRate(Table, table=True):
    """One quote of the LPR: percent per year, in force from its day of publication until the next."""

    __tablename__ = "reference_rate"
    __table_args__ = (CheckConstraint("one_year > 0 AND five_year > 0", name="reference_rate_positive"),)

    published_on: date = Field(primary_key=True)
    one_year: Decimal = Field(sa_type=Numeric(6, 4))
    five_year: Decimal = Field(sa_type=Numeric(6, 4))


class Quoted(BaseModel):
    """A quote: the 1-year and the over-5-year LPR published on a day."""

    model_config = ConfigDict(
        extra="forbid",
        from_attributes=True,
        json_schema_extra={
            "examples": [{"published_on": "2026-08-20", "one_year": "3.0000", "five_year": "3.5000"}]
        },
    )

    published_on: Day
    one_year: Rate
    five_year: Rate


@steps.get("/v1/reference-rates", operation_id="list_reference_rates", response_model=Page[Quoted])
async def list_reference_rates(session: Session, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The quotes on record, newest first."""
    published_on = col(ReferenceRate.published_on)
    query = select(
        published_on,
        cast(col(ReferenceRate.one_year), SqlText).label("one_year"),
        cast(col(ReferenceRate.five_year), SqlText).label("five_year"),
    )
    return await page(session, query, order=[published_on], limit=limit, cursor=cursor, descending=True)


@steps.put("/v1/reference-rates", operation_id="put_reference_rate", responses=refusals(Refusal))
async def put_reference_rate(body: Quoted, session: Session, today: Today) -> Quoted:
    """Enter a quote, or mend one entered wrongly; loans filed on it keep what they were tested on."""
    if body.published_on > today:
        raise InvalidInput(
            Text("公布日不能晚于今天", "A quote is entered once it is published"),
            rule="R-22",
            errors=[{"pointer": "#/published_on", "detail": f"≤ {today}"}],
        )
    if min(body.one_year, body.five_year) == 0:
        raise InvalidInput(Text("LPR 须大于零", "The LPR is above zero"), rule="R-22")
    row = await session.get(ReferenceRate, body.published_on, with_for_update=True)
    if row is None:
        session.add(ReferenceRate(**body.model_dump()))
    else:
        row.one_year, row.five_year = body.one_year, body.five_year
    return body
