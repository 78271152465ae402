"""The list in a CSV: its encoding and delimiter found, never guessed loosely (R-06)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from services.roster.cells import written
from services.roster.list_columns import Problem
from services.roster.sheet import HEADING_WITHIN, Sheet, no_list, places_of
from services.roster.workbook import MOST_ROWS, FileRefused, damaged
from shared.rules import Text

LONGEST_RECORD = 25
"""A record over more lines than this has an open quote that swallows its neighbours."""


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


def from_text(content: bytes) -> Sheet:
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
