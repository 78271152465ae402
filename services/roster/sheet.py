"""A list in a file: its headings found, each column's place, its rows one by one (R-06)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.roster.cells import written
from services.roster.list_columns import FIELD_OF, NAMES, REQUIRED, Problem, heading
from services.roster.workbook import FileRefused

HEADING_WITHIN = 24
"""So many rows may stand above the headings: a title, a date, a note."""


@dataclass
class Sheet:
    """A list with its headings, each known column's place, and its rows with their numbers (from 1)."""

    name: str | None
    headers: list[str]
    places: dict[str, int]
    rows: Iterable[tuple[int, Sequence[Any]]]
    spoiled: dict[int, list[Problem]] = field(default_factory=dict)


def no_list(zh: str, en: str) -> FileRefused:
    wanted = "、".join(NAMES[name][0] for name in REQUIRED)
    return FileRefused(
        f"在{zh}前 {HEADING_WITHIN} 行中没有找到同时有“{wanted}”的表头：请补上表头，或下载模板填写",
        f"no heading with both {wanted} within the first {HEADING_WITHIN} rows of {en}: "
        "add the headings, or fill in the template",
    )


def places_of(cells: Sequence[Any]) -> dict[str, int] | None:
    """The place of each known column in a row of headings, None when it is no such row. Raises FileRefused
    when a column is there twice."""
    places: dict[str, int] = {}
    doubled: list[str] = []
    for place, cell in enumerate(cells):
        name = FIELD_OF.get(heading(cell)) if isinstance(cell, str) else None
        if name in places:
            doubled.append(f"{written(cells[places[name]])}、{written(cell)}")
        elif name is not None:
            places[name] = place
    if not all(name in places for name in REQUIRED):
        return None
    if doubled:
        raise FileRefused(
            f"有重复的列（{'；'.join(doubled)}）：请只保留一列",
            f"a column is there twice ({'; '.join(doubled)}): keep one of them",
        )
    return places
