"""A list file opened: XLSX or CSV, what it really is, its headings, its rows one by one (R-06).

A file that is not what it says is refused as a whole, with what to do; a row that cannot be read is told
with the row, and the others go on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from services.roster.list_columns import FIELD_OF, NAMES, REQUIRED, Problem, heading, written
from services.roster.workbook import MOST_ROWS, FileRefused, Hidden, damaged, examine
from shared.rules import Text

HEADING_WITHIN = 20
LONGEST_RECORD = 20
"""A record of a CSV over more lines than this has an open quote that swallows its neighbours."""
OLE = bytes.fromhex("d0cf11e0a1b11ae1")


@dataclass
class Sheet:
    """A list with its headings, each known column's place, and its rows with their numbers (from 1)."""

    name: str | None
    headers: list[str]
    places: dict[str, int]
    rows: Iterable[tuple[int, Sequence[Any]]]
    spoiled: dict[int, list[Problem]] = field(default_factory=dict)


def open_sheet(content: bytes) -> Sheet:
    """The list in a file. Raises FileRefused."""
    if not content.strip():
        raise FileRefused("文件是空的：请选择名单文件后上传", "the file is empty: choose the list's file")
    if content.startswith(OLE):
        raise _ole(content)
    if content.startswith(b"PK\x03\x04"):
        return _from_workbook(content)
    if content.startswith((b"PK\x05\x06", b"PK\x07\x08")):
        raise damaged()
    return _from_text(content)


def _ole(content: bytes) -> FileRefused:
    if "EncryptedPackage".encode("utf-16-le") in content:
        return FileRefused(
            "文件设有打开密码：请在 Excel 中取消密码后上传",
            "the file opens with a password: remove it in Excel and upload again",
        )
    return FileRefused(
        "这是旧版 .xls 文件（扩展名可能已被改成 .xlsx）：请用 Excel 另存为 .xlsx 后上传",
        "this is an old .xls file (perhaps renamed): save it as .xlsx in Excel and upload that",
    )


# ── workbooks ────────────────────────────────────────────────────────────────────────────────────


def _from_workbook(content: bytes) -> Sheet:
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


def no_list(zh: str, en: str) -> FileRefused:
    wanted = "、".join(NAMES[name][0] for name in REQUIRED)
    return FileRefused(
        f"在{zh}前 {HEADING_WITHIN} 行中没有找到同时有“{wanted}”的表头：请补上表头，或下载模板填写",
        f"no heading with both {wanted} within the first {HEADING_WITHIN} rows of {en}: "
        "add the headings, or fill in the template",
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


# ── text ─────────────────────────────────────────────────────────────────────────────────────────


def decoded(content: bytes) -> str:
    """The text of a CSV: UTF-8 with or without BOM, else GB18030, both strictly. Raises FileRefused."""
    start = content[:1024].lstrip().lower()
    if content.startswith(b"%PDF") or start.startswith(
        (b"<html", b"<!doctype", b"<?xml", b"<table", b"{\\rtf")
    ):
        raise FileRefused(
            "这是 PDF 或网页文件，只是扩展名像表格：请用 Excel 打开后另存为 .xlsx",
            "this is a PDF or a web page named like a table: open it in Excel and save it as .xlsx",
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FileRefused(
            "这是 UTF-16 文本：请另存为“CSV UTF-8”后上传", "this is UTF-16 text: save it as CSV UTF-8"
        )
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(char in text for char in map(chr, (0, 1, 2, 3, 4, 5, 6, 7, 8, 14, 15, 0xFFFD))):
            return text
    raise FileRefused(
        "不是可读的表格文件：请上传 .xlsx，或 UTF-8、GB18030 编码的 CSV",
        "not a readable table: upload .xlsx, or CSV in UTF-8 or GB18030",
    )


def _from_text(content: bytes) -> Sheet:
    text = decoded(content)
    for delimiter in (",", ";", "\t"):
        rows = _lines(text, delimiter)
        for number, cells in rows:
            if number > HEADING_WITHIN:
                break
            places = places_of(cells)
            if places is not None:
                sheet = Sheet(None, [written(cell) for cell in cells], places, ())
                sheet.rows = _same_width(rows, len(cells), sheet)
                return sheet
    raise no_list("文件", "the file")


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV with the number of the line each ends on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
    before = 0
    try:
        for cells in reader:
            if reader.line_num - before > LONGEST_RECORD:
                raise FileRefused(
                    f"第 {before + 1} 行起引号不成对：请补上或删去多余的引号",
                    f"a quote that opens on line {before + 1} is not closed: close or remove it",
                )
            before = reader.line_num
            if reader.line_num > MOST_ROWS:
                raise FileRefused(
                    f"超过 {MOST_ROWS} 行：请分成几份上传", f"more than {MOST_ROWS} rows: split the list"
                )
            yield reader.line_num, cells
    except csv.Error as error:
        raise damaged() from error


def _same_width(
    rows: Iterator[tuple[int, list[str]]], width: int, sheet: Sheet
) -> Iterator[tuple[int, list[str]]]:
    """Every record as wide as the headings; more cells than headings are a fault of the record."""
    extra = Text(
        "比表头多出了单元格：请检查逗号和引号", "has more cells than the headings: look at commas and quotes"
    )
    for number, cells in rows:
        if any(cell.strip() for cell in cells[width:]):
            sheet.spoiled.setdefault(number, []).append(Problem(sheet.headers[-1], "R-06", extra))
        yield number, (cells + [""] * width)[:width]
