"""Lists: whose cases are shown, which filters hold, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from services.lending.loan import Table
from services.lending.shown import (
    columns,
)
from shared.pages import page
from shared.service import Caller


def own(who: Caller, table: type[Table]) -> list[ColumnElement[bool]]:
    """The filter of a list for those who see only their own cases, by the kind of party they are."""
    if who.whose == "all":
        return []
    stored = table.__table__.c  # type: ignore[attr-defined]
    if "enterprise" in who.roles:
        return [stored.uscc == who.party]
    column = "guarantor_id" if "guarantor" in who.roles else "institution_id"
    return [stored[column] == who.party_id]


def chosen(table: type[Table], wanted: BaseModel) -> list[ColumnElement[bool]]:
    """A filter's members as conditions on the columns of the same names."""
    stored = table.__table__.c  # type: ignore[attr-defined]
    return [stored[name] == value for name, value in wanted.model_dump(exclude_none=True).items()]


async def newest_first(
    session: AsyncSession,
    table: type[Table],
    model: type[BaseModel],
    where: Sequence[ColumnElement[bool]],
    limit: int,
    cursor: str | None,
) -> Response:
    """A page of a table's rows as `model`, the newest first (ids are ordered by time)."""
    query: Select[*tuple[Any, ...]] = select(*columns(table, model)).where(*where)
    order = [table.__table__.c.id]  # type: ignore[attr-defined]
    return await page(session, query, order=order, limit=limit, cursor=cursor, descending=True)
