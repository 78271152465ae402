"""A list of 100,000 enterprises through roster's import (R-06) against COPY of what it leaves behind.

The import reads the file, judges every row, works out each enterprise's days and announces them. The
floor knows the result beforehand: it copies the same rows into the same tables, with their indexes and
constraints, in one transaction.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import httpx

from bench import recognition_list
from bench.ground import FOLDER, SETTLE, Failed, execute
from bench.verdict import Line
from services.roster.app import SERVICE as ROSTER
from shared import plumbing
from shared.database import plain_url
from tests.ground import Alone, Databases, alone, key

ROWS = 100_000
ROUNDS = 2
TARGET = 3.0
TYPES = {"xlsx": "application/octet-stream", "csv": "text/csv"}
FORM = {"kind": "qualification", "category": "national_high_tech", "document_no": "国科火字〔2025〕35号"}
TABLES = [table.name for table in (*ROSTER.metadata.sorted_tables, plumbing.outbox, plumbing.audit)]
"""What an import may write, a table after those it refers to."""


async def measure(databases: Databases, *, large: bool) -> list[Line]:
    """Seconds of the import over seconds of the COPY, as workbook and as CSV."""
    return [await _one(databases, kind) for kind in TYPES]


async def _one(databases: Databases, kind: str) -> Line:
    headers, rows = recognition_list.HEADERS["qualification"], recognition_list.rows(ROWS)
    content = (recognition_list.xlsx if kind == "xlsx" else recognition_list.text)(headers, rows)
    ours = floor = 0.0
    for _ in range(ROUNDS):
        async with alone(databases, ROSTER) as it:
            ours += await _import(it, f"list.{kind}", content)
            await it.settle()
            floor += await _copy(databases, it.running.database.url)
    figures = f"{ours / ROUNDS:.1f} s against {floor / ROUNDS:.1f} s"
    return Line(f"import of {ROWS:,} rows ({kind}) / COPY", ours / floor, TARGET, figures, at_most=True)


async def _import(it: Alone, file: str, content: bytes) -> float:
    """Seconds from the upload until every row is done."""
    office: httpx.AsyncClient = it.client("office")
    await execute(it.running.database.url, *SETTLE)
    began = time.perf_counter()
    upload = {"file": (file, content, TYPES[file.rpartition(".")[2]])}
    answer = await office.post("/v1/imports", data=FORM, files=upload, headers=key())
    answer.raise_for_status()
    while (shown := (await office.get(answer.headers["location"])).json())["state"] != "done":
        if shown["state"] == "refused":
            raise Failed(str(shown))
        await asyncio.sleep(0.05)
    took = time.perf_counter() - began
    if shown["added"] != ROWS:
        raise Failed(str(shown))
    return took


async def _copy(databases: Databases, source_url: str) -> float:
    """Seconds to copy what the import left into the same tables of an empty database."""
    target_url = await databases.fresh(ROSTER, ROSTER.name)
    source = await asyncpg.connect(plain_url(source_url))
    target = await asyncpg.connect(plain_url(target_url))
    try:
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            files = await _unload(source, target, Path(folder))
            for statement in SETTLE:
                await target.execute(statement)
            began = time.perf_counter()
            async with target.transaction():
                for file in files:
                    await target.copy_to_table(file.name, source=file)
            return time.perf_counter() - began
    finally:
        await source.close()
        await target.close()
        await databases.drop(target_url)


async def _unload(source: asyncpg.Connection, target: asyncpg.Connection, folder: Path) -> Sequence[Path]:
    """Every table with rows that a new installation does not have, as a file of its name."""
    files = []
    for table in TABLES:
        there, here = [
            await connection.fetchval(f'SELECT EXISTS (SELECT FROM "{table}")')
            for connection in (source, target)
        ]
        if there and not here:
            files.append(folder / table)
            await source.copy_from_table(table, output=files[-1])
    return files
