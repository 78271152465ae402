"""Carrying one database: table after table by binary COPY, each compared afterwards row by row.

The rows travel in blocks, never a table at once. The target's role owns its database and is no more
than that: tables are filled in the order of their foreign keys, and only triggers of our own are set
aside meanwhile, for what they check was checked when the rows were first written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

import asyncpg

VERSIONS = ("schema_shared", "schema_own")
"""Alembic's own tables: equal on both sides before anything is carried."""
MADE_BY_MIGRATIONS = ("fund", "reference_rate")
"""Tables that have rows in a new database already; they give way to the rows that come."""
BLOCKS_UNDER_WAY = 8

COLUMNS = """
SELECT c.relname AS table, a.attname AS column, a.attgenerated <> '' AS generated,
       format_type(a.atttypid, a.atttypmod) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname, a.attname
"""
REFERENCES = """
SELECT conrelid::regclass::text AS from_table, confrelid::regclass::text AS to_table FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conrelid <> confrelid
"""
TRIGGERS = """
SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
WHERE NOT tgisinternal AND c.relnamespace = 'public'::regnamespace
"""
SEQUENCES = """
SELECT format('%I', relname) FROM pg_class
WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace ORDER BY 1
"""


@dataclass(frozen=True)
class Table:
    """A table as the catalogue shows it, its columns by name."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    written: tuple[str, ...]
    """The columns that are given; the others are generated from them."""


@dataclass(frozen=True)
class Contents:
    """What a table holds: how many rows, and the sum of a digest of each, whatever their order."""

    rows: int
    digest: str


async def tables(connection: asyncpg.Connection) -> list[Table]:
    """The tables of the database, each after those it refers to."""
    found: dict[str, list[asyncpg.Record]] = {}
    for row in await connection.fetch(COLUMNS):
        found.setdefault(row["table"], []).append(row)
    graph: dict[str, set[str]] = {name: set() for name in found if name not in VERSIONS}
    for row in await connection.fetch(REFERENCES):
        graph[row["from_table"].strip('"')].add(row["to_table"].strip('"'))
    return [_table(name, found[name]) for name in TopologicalSorter(graph).static_order()]


def _table(name: str, columns: Sequence[asyncpg.Record]) -> Table:
    return Table(
        name,
        tuple(row["column"] for row in columns),
        tuple(row["type"] for row in columns),
        tuple(row["column"] for row in columns if not row["generated"]),
    )


async def lock(connection: asyncpg.Connection, found: Sequence[Table], mode: str) -> None:
    """Keep writers out of the tables until the transaction ends. Raises asyncpg.LockNotAvailableError."""
    await connection.execute(f"LOCK TABLE {', '.join(_quoted(t.name) for t in found)} IN {mode} MODE")


async def contents(connection: asyncpg.Connection, found: Sequence[Table]) -> dict[str, Contents]:
    """What each table holds, worked out by the server from the text of every column of every row."""
    return {table.name: await _contents(connection, table) for table in found}


async def _contents(connection: asyncpg.Connection, table: Table) -> Contents:
    columns = ", ".join(map(_quoted, table.columns))
    digest = f"substr(sha256(convert_to(ROW({columns})::text, 'UTF8')), 1, 8)::int8::numeric"
    row = await connection.fetchrow(
        f"SELECT count(*) AS rows, coalesce(sum({digest}), 0)::text AS digest FROM {_quoted(table.name)}"  # noqa: S608
    )
    assert row is not None
    return Contents(row["rows"], row["digest"])


def is_new(held: Mapping[str, Contents]) -> bool:
    """Whether a database holds no more than its migrations put there."""
    return not any(told.rows for name, told in held.items() if name not in MADE_BY_MIGRATIONS)


async def carry(source: asyncpg.Connection, target: asyncpg.Connection, found: Sequence[Table]) -> None:
    """Fill the tables of the target, inside its open transaction, and set its sequences."""
    guarded = [row[0] for row in await target.fetch(TRIGGERS)]
    for name in guarded:
        await target.execute(f"ALTER TABLE {name} DISABLE TRIGGER USER")
    for table in found:
        if table.name in MADE_BY_MIGRATIONS:
            await target.execute(f"DELETE FROM {_quoted(table.name)}")  # noqa: S608
        await _copy(source, target, table)
    for name in guarded:
        await target.execute(f"ALTER TABLE {name} ENABLE TRIGGER USER")
    for (sequence,) in await source.fetch(SEQUENCES):
        at = await source.fetchrow(f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608
        assert at is not None
        await target.execute(f"SELECT setval('{sequence}', $1, $2)", at["last_value"], at["is_called"])


async def _copy(source: asyncpg.Connection, target: asyncpg.Connection, table: Table) -> None:
    """One table through a pipe of a few blocks: the reader waits when the writer is behind."""
    pipe: asyncio.Queue[bytes | None] = asyncio.Queue(BLOCKS_UNDER_WAY)

    async def read() -> None:
        columns = ", ".join(map(_quoted, table.written))
        query = f"SELECT {columns} FROM {_quoted(table.name)}"  # noqa: S608
        await source.copy_from_query(query, output=pipe.put, format="binary")
        await pipe.put(None)

    async def blocks() -> AsyncIterator[bytes]:
        while (block := await pipe.get()) is not None:
            yield block

    async with asyncio.TaskGroup() as both:
        both.create_task(read())
        both.create_task(
            target.copy_to_table(table.name, source=blocks(), columns=table.written, format="binary")
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
