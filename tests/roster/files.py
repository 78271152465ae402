"""Files as people send them, whole and broken in every way, made when a test wants one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xlsxwriter

from tests.roster.town import ALPHA, BETA, HEADERS, table

LINES: Sequence[Sequence[Any]] = ((ALPHA, "企业甲"), (BETA, "企业乙"))


def workbook(
    *lines: Sequence[Any],
    headers: Sequence[str] = HEADERS,
    title: Sequence[str] = (),
    finish: Callable[[Any, Any], None] | None = None,
    sheets: Sequence[str] = ("名单",),
) -> bytes:
    """A workbook of these lines on each of `sheets`; `finish` may spoil the last one."""
    kept = io.BytesIO()
    with xlsxwriter.Workbook(kept, {"default_date_format": "yyyy-mm-dd"}) as book:
        for name in sheets:
            sheet = book.add_worksheet(name)
            top = [[text] for text in title]
            for row, line in enumerate([*top, headers, *(lines or LINES)]):
                sheet.write_row(row, 0, line)
        if finish:
            finish(book, sheet)
    return kept.getvalue()


def rezipped(content: bytes, change: Callable[[dict[str, bytes]], None], **more: Any) -> bytes:
    """The workbook with its parts changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED, **more) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return kept.getvalue()


def something_else(parts: dict[str, bytes]) -> None:
    parts.clear()
    parts["holiday.jpg"] = b"x"


SHEET = "xl/worksheets/sheet1.xml"


def bomb(parts: dict[str, bytes]) -> None:
    parts["xl/media/image1.bin"] = bytes(64_000_000)


def many_parts(parts: dict[str, bytes]) -> None:
    parts.update({f"xl/media/{number}.bin": b"" for number in range(2500)})


def far_cell(parts: dict[str, bytes]) -> None:
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    parts[SHEET] = parts[SHEET].replace(b"</sheetData>", far)


def far_cell_in_single_quotes(parts: dict[str, bytes]) -> None:
    far = b"<row r='1048576'><c r='XFD1048576'><v>1</v></c></row></sheetData>"
    parts[SHEET] = parts[SHEET].replace(b"</sheetData>", far)


def with_entities(parts: dict[str, bytes]) -> None:
    declaration = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>'
    parts[SHEET] = parts[SHEET].replace(b"<worksheet", declaration + b"<worksheet", 1)


def macros(parts: dict[str, bytes]) -> None:
    parts["xl/vbaProject.bin"] = b"\x00" * 100


def lying_header() -> bytes:
    """A bomb whose headers say it is small."""
    whole = bytearray(rezipped(workbook(), bomb))
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = whole.rfind(mark)
        whole[start + place : start + place + 4] = (100).to_bytes(4, "little")
    return bytes(whole)


OLE = bytes.fromhex("d0cf11e0a1b11ae1")

REFUSED: Mapping[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "blank": (b" \r\n \r\n", "empty"),
    "old xls renamed": (OLE + bytes(1000), ".xls"),
    "password": (OLE + bytes(500) + "EncryptedPackage".encode("utf-16-le"), "password"),
    "macros": (rezipped(workbook(), macros), ".xlsm"),
    "another archive": (rezipped(workbook(), something_else), "archive"),
    "cut off": (workbook()[:-500], "damaged"),
    "cut to its head": (workbook()[:300], "damaged"),
    "a bit turned": (workbook()[:900] + b"\xff\xff\xff" + workbook()[903:], "damaged"),
    "zip bomb": (rezipped(workbook(), bomb), "too large"),
    "zip bomb with lying headers": (lying_header(), "damaged"),
    "too many parts": (rezipped(workbook(), many_parts), "too large"),
    "a cell far away": (rezipped(workbook(), far_cell), "XFD1048576"),
    "a cell far away in single quotes": (rezipped(workbook(), far_cell_in_single_quotes), "XFD1048576"),
    "entities": (rezipped(workbook(), with_entities), "damaged"),
    "pdf": (b"%PDF-1.7\n" + bytes(100), "PDF"),
    "web page": (b"<html><table><tr><td>x</td></tr></table></html>", "web page"),
    "utf-16": ("统一社会信用代码,企业名称\r\n".encode("utf-16"), "UTF-16"),
    "binary": (bytes(range(256)) * 4, "not a readable table"),
    "no headings": (table(*LINES, headers=("甲", "乙")), "no heading"),
    "a missing column": (table(*LINES, headers=("统一社会信用代码", "地址")), "no heading"),
    "a doubled column": (
        table((ALPHA, "甲", "甲"), headers=("统一社会信用代码", "企业名称", "单位名称")),
        "twice",
    ),
    "no rows": (workbook(("", "")), "no row"),
    "two lists in one workbook": (workbook(sheets=("甲", "乙")), "several sheets"),
    "an open quote": (table(*LINES) + b'"' + table(*[*LINES] * 30), "not closed"),
}
"""Files that are refused as a whole, with a word of the refusal."""
