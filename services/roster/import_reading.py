"""A list's file read whole, in a thread of its own, and its rows copied to where they are checked (R-06)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession

from services.roster.cells import originals
from services.roster.import_check import STAGED
from services.roster.list_columns import Given, RowReader
from services.roster.list_file import open_sheet
from services.roster.sheet import Sheet
from services.roster.workbook import FileRefused

LOOKS_A_SECOND = 20
PORTION = 2000
TELL_EVERY = 10_000


@dataclass
class Reading:
    """A file being read: what was found at its head, and its rows so far."""

    sheet: Sheet | None = None
    rows: list[tuple[Any, ...]] = field(default_factory=list)


def read_whole(content: bytes, given: Given, reading: Reading) -> None:
    """Read all rows of a file, in a thread; blank rows are passed over. Raises FileRefused."""
    reading.sheet = sheet = open_sheet(content)
    reader = RowReader(given, sheet.headers, sheet.places)
    for number, cells in sheet.rows:
        if original := originals(cells):
            row = reader.read(number, cells, sheet.spoiled.get(number, ()))
            reading.rows.append((*row, original))


async def read_and_stage(
    session: AsyncSession, content: bytes, given: Given, tell: Callable[[int], Awaitable[None]]
) -> Reading:
    """Read the file in a thread and copy its rows to `staged` as they come, in portions between which
    others are served. `tell` hears how many are read. Raises FileRefused."""
    reading = Reading()
    raw = await (await session.connection()).get_raw_connection()
    copy = cast(Any, raw.driver_connection).copy_records_to_table
    task = asyncio.create_task(asyncio.to_thread(read_whole, content, given, reading))
    staged = told = 0
    while not task.done() or staged < len(reading.rows):
        if task.done() or len(reading.rows) >= staged + PORTION:
            portion = reading.rows[staged : staged + PORTION]
            await copy("staged", records=portion, columns=STAGED)
            staged += len(portion)
        else:
            await asyncio.wait({task}, timeout=1 / LOOKS_A_SECOND)
        if staged >= told + TELL_EVERY:
            told = staged
            await tell(told)
    await task
    if not reading.rows:
        raise FileRefused("表头下面没有数据", "there is no row below the headings")
    return reading
