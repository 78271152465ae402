"""A list's file read whole, in a thread of its own, to the rows the check wants (R-06)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from services.roster.cells import originals
from services.roster.list_columns import Given, RowReader
from services.roster.list_file import open_sheet
from services.roster.sheet import Sheet


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
