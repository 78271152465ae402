"""The list in an XLSX workbook: on which sheet, and which of its rows cannot be relied on (R-06)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from services.roster.cells import written
from services.roster.list_columns import Problem
from services.roster.sheet import HEADING_WITHIN, Sheet, no_list, places_of
from services.roster.workbook import MOST_ROWS, FileRefused, Hidden, damaged, examine
from shared.rules import Text


def from_workbook(content: bytes) -> Sheet:
    hidden = examine(content)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        named = [
            one.name
            for one in book.sheets_metadata
            if one.visible == SheetVisibleEnum.Visible and one.typ == SheetTypeEnum.WorkSheet
        ]
        opened = [book.get_sheet_by_name(name) for name in named]
    except (CalamineError, OSError, ValueError) as error:
        raise damaged() from error
    found = [sheet for one in opened if (sheet := _list_in(one, hidden.get(one.name, Hidden())))]
    if len(found) == 1:
        return found[0]
    names = "、".join(named)
    if not found:
        raise no_list(f"工作表（{names}）", f"the sheets ({', '.join(named)})")
    both = "、".join(str(sheet.name) for sheet in found)
    raise FileRefused(
        f"有几张工作表都像名单（{both}）：请只保留要导入的一张，另存后上传",
        f"several sheets look like the list ({both}): keep the one to import, save and upload again",
    )


def _list_in(sheet: CalamineSheet, hidden: Hidden) -> Sheet | None:
    """The list of this sheet, or None without its headings."""
    if sheet.start is None:
        return None
    top, left = sheet.start
    rows = _numbered(sheet, top, left)
    for number, cells in rows:
        if number > top + HEADING_WITHIN:
            return None
        places = places_of(cells)
        if places is not None:
            headers = [written(cell) for cell in cells]
            spoiled = _spoiled(hidden, number, headers, places)
            return Sheet(sheet.name, headers, places, rows, spoiled)
    return None


def _numbered(sheet: CalamineSheet, top: int, left: int) -> Iterator[tuple[int, Sequence[Any]]]:
    """The rows with the numbers and the columns they have in Excel."""
    before = [""] * left
    for number, cells in enumerate(sheet.iter_rows(), top + 1):
        if number > MOST_ROWS:
            raise FileRefused(
                f"超过 {MOST_ROWS} 行：请分成几份上传", f"more than {MOST_ROWS} rows: split the list"
            )
        yield number, before + cells if left else cells


def _spoiled(
    hidden: Hidden, header: int, headers: Sequence[str], places: dict[str, int]
) -> dict[int, list[Problem]]:
    """The rows below the headings whose known columns hold formulas or merged cells."""
    known = {place + 1: headers[place] for place in places.values()}
    found: dict[int, list[Problem]] = {}
    formula = Text(
        "是公式，其值不可靠：请“复制、选择性粘贴为数值”后再导入",
        "is a formula, whose value cannot be relied on: copy it and paste as values",
    )
    merged = Text("是合并单元格：请取消合并，每行各填", "is a merged cell: unmerge it and fill in each row")
    for row, column in sorted(hidden.formulas):
        if row > header and column in known:
            found.setdefault(row, []).append(Problem(known[column], "R-06", formula))
    for top, left, bottom, right in hidden.merges:
        touched = [known[column] for column in known if left <= column <= right]
        for row in range(max(top, header + 1), bottom + 1):
            found.setdefault(row, []).extend(Problem(name, "R-06", merged) for name in touched)
    return found
