"""Lists: opaque cursor, `limit` ≤ 200, stable order, JSON built by the database in one round trip."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped
from sqlalchemy.sql import cast
from sqlalchemy.types import Text as SqlText
from starlette.responses import Response

from shared.problems import InvalidInput
from shared.rules import Text

Item = TypeVar("Item")
Limit = Annotated[int, Query(ge=1, le=200, description="How many at most (1 to 200).")]
Cursor = Annotated[
    str | None, Query(max_length=500, description="`next_cursor` of the page before; same filters.")
]


class Page(BaseModel, Generic[Item]):
    """One page of a list. `next_cursor` is null on the last page."""

    items: list[Item]
    next_cursor: str | None


def encode(keys: Sequence[object]) -> str:
    packed = json.dumps([str(key) for key in keys], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def decode(cursor: str, length: int) -> list[str]:
    try:
        keys = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        keys = None
    if not isinstance(keys, list) or len(keys) != length or not all(isinstance(k, str) for k in keys):
        raise InvalidInput(
            Text("cursor 无效：请原样使用上一页的 next_cursor", "cursor must be a next_cursor as given"),
            errors=[{"pointer": "#/cursor", "detail": "not a cursor of this list"}],
        )
    return keys


def cast_type(column: ColumnElement[Any] | Mapped[Any]) -> Any:
    return column.type if isinstance(column, ColumnElement) else column.expression.type  # type: ignore[attr-defined]


async def page(
    session: AsyncSession,
    query: Select[*tuple[Any, ...]],
    *,
    order: Sequence[ColumnElement[Any] | Mapped[Any]],
    limit: int,
    cursor: str | None,
    descending: bool = False,
) -> Response:
    """Answer `query` (labelled columns → JSON members) as a Page, one round trip.

    `order` are columns that together are unique and indexed in this order; the cursor is their values
    of the last item. Money columns go through `database.yuan` so that they are strings.
    """
    for position, column in enumerate(order):
        query = query.add_columns(cast(column, SqlText).label(f"__key{position}"))
    if cursor is not None:
        after = [
            cast(key, cast_type(column))
            for key, column in zip(decode(cursor, len(order)), order, strict=True)
        ]
        mark, place = tuple_(*after), tuple_(*order)
        query = query.where(place < mark if descending else place > mark)
    ordered = query.order_by(*(c.desc() if descending else c.asc() for c in order))
    rows = ordered.limit(limit + 1).subquery("r")
    as_json = func.coalesce(func.json_agg(literal_column("r")), literal_column("'[]'::json"))
    found: list[dict[str, Any]] = json.loads(
        (await session.execute(select(cast(as_json, SqlText)).select_from(rows))).scalar_one()
    )
    keys = [[row.pop(f"__key{position}") for position in range(len(order))] for row in found]
    more = len(found) > limit
    body = {"items": found[:limit], "next_cursor": encode(keys[limit - 1]) if more else None}
    return Response(
        json.dumps(body, ensure_ascii=False, separators=(",", ":")), media_type="application/json"
    )
