"""Lists go on where the page before ended, whatever their order is of; a made-up cursor is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter
from sqlalchemy import BigInteger, Date, DateTime, Integer, Text, Uuid, column, select, values
from sqlalchemy.types import TypeEngine
from sqlmodel.sql.sqltypes import AutoString

from shared.pages import Cursor, decode, encode, page
from shared.problems import InvalidInput
from tests.ground import Alone

INSTANT = datetime(2026, 3, 2, 8, 0, 0, 120_000, UTC)
ROWS: list[tuple[TypeEngine[Any], list[Any]]] = [
    (BigInteger(), [1, 2, 10]),
    (Integer(), [1, 2, 10]),
    (Date(), [date(2024, 2, 29), date(2026, 3, 2), date(2026, 10, 1)]),
    (DateTime(timezone=True), [INSTANT, INSTANT.replace(microsecond=120_001), INSTANT.replace(year=2027)]),
    (Uuid(), [UUID(int=1), UUID(int=2), UUID(int=10)]),
    (Text(), ["a", "b", "平湖"]),
    (AutoString(), ["a", "b", "平湖"]),
]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("kind", "rows"), ROWS, ids=lambda given: type(given).__name__)
async def test_each_row_comes_once_in_order(
    it: Alone, kind: TypeEngine[Any], rows: Sequence[Any], descending: bool
) -> None:
    given = values(column("key", kind), name="given").data([(row,) for row in rows])
    seen: list[Any] = []
    cursor: str | None = None
    async with it.running.database.reading() as session:
        while True:
            query, order = select(given.c.key), [given.c.key]
            answer = await page(session, query, order=order, limit=1, cursor=cursor, descending=descending)
            body = json.loads(bytes(answer.body))
            seen += [item["key"] for item in body["items"]]
            cursor = body["next_cursor"]
            if cursor is None:
                break
    assert len(seen) == len(set(seen)) == 3
    shown = [json.loads(json.dumps(row, default=str)) for row in rows]
    if not isinstance(kind, DateTime):
        assert seen == (shown[::-1] if descending else shown)
    assert (seen[0] > seen[-1]) is descending


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (UUID, "x"),
        (int, "x"),
        (int, "1e3"),
        (int, str(2**63)),
        (date, "2026-02-30"),
        (datetime, "yesterday"),
        (str, "a\0b"),
    ],
)
def test_a_key_its_column_cannot_hold_is_refused(kind: type, key: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(encode([key]), [kind])
    assert refused.value.errors[0]["pointer"] == "#/cursor"


@pytest.mark.parametrize(
    "keys", ["", "x", "[]", '["x","x"]', "[5]", "[null]", '[["x"]]', '{"x":1}', "[" * 9000, "\0", "[NaN]"]
)
def test_what_is_no_cursor_of_this_list_is_refused(keys: str) -> None:
    with pytest.raises(InvalidInput):
        decode(base64.urlsafe_b64encode(keys.encode()).decode(), [str])


def test_the_longest_name_makes_a_cursor_that_is_taken_back() -> None:
    cursor = encode(["平" * 200, str(UUID(int=1))])
    assert TypeAdapter(Cursor).validate_python(cursor) == cursor
