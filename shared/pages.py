"""Lists: opaque cursor, `limit` ≤ 200, stable order, JSON built by the database in one round trip."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import ColumnElement, Select, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped
from sqlalchemy.sql import cast
from sqlalchemy.types import Text as SqlText
from sqlalchemy.types import TypeDecorator, TypeEngine
from starlette.responses import Response

from shared.problems import InvalidInput
from shared.rules import Text

Item = TypeVar("Item")
Limit = Annotated[int, Query(ge=1, le=200, description="How many at most (1 to 200).")]
Cursor = Annotated[
    str | None, Query(max_length=2000, description="`next_cursor` of the page before; same filters.")
]


class Page(BaseModel, Generic[Item]):
    """One page of a list. `next_cursor` is null on the last page."""

    items: list[Item]
    next_cursor: str | None


def encode(keys: Sequence[object]) -> str:
    packed = json.dumps([str(key) for key in keys], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def _whole(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError("beyond the database's whole numbers")
    return number


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("the database keeps no NUL")
    return text


TEXTS = TypeAdapter(list[str])
READ: dict[type, Callable[[str], object]] = {
    UUID: UUID,
    int: _whole,
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    str: _text,
}
"""How a key is read back from the text the database wrote of it, by the type of its column."""


def decode(cursor: str, kinds: Sequence[type]) -> list[object]:
    """The keys of a cursor, of these types. Raises InvalidInput."""
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        keys = TEXTS.validate_json(packed)
        return [READ[kind](key) for kind, key in zip(kinds, keys, strict=True)]
    except ValueError as error:
        raise InvalidInput(
            Text("cursor 无效：请原样使用上一页的 next_cursor", "cursor must be a next_cursor as given"),
            errors=[
                {
                    "pointer": "#/cursor",
                    "detail": Text("不是本列表的 next_cursor", "not a cursor of this list"),
                }
            ],
        ) from error


def cast_type(column: ColumnElement[Any] | Mapped[Any]) -> Any:
    return column.type if isinstance(column, ColumnElement) else column.expression.type  # type: ignore[attr-defined]


def _kind(type_: TypeEngine[Any]) -> type:
    return (type_.impl_instance if isinstance(type_, TypeDecorator) else type_).python_type


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
        types = [cast_type(column) for column in order]
        last = decode(cursor, [_kind(type_) for type_ in types])
        after = [cast(key, type_) for key, type_ in zip(last, types, strict=True)]
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
