"""What lies inside an XLSX file before anything reads it: whether it is one, whether it would burst, and
what a reader of values does not show: formulas, merged cells, cells far away (R-06).

Every part is inflated once, counted while it is inflated (headers may lie), and looked through in pieces.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from xml.etree import ElementTree

from shared.rules import Text

MOST_PARTS = 2000
MOST_BYTES = 400_000_000
MOST_TIMES = 250
SMALL = 16_000_000
MOST_ROWS = 300_000
MOST_COLUMNS = 200
PIECE = 1 << 20
FAR = re.compile(rb' r="(?:[A-Z]{2}|[A-Z](?:[3-9]\d{5}|\d{7}))')
"""A cell behind column Z or below row 300,000, as every writer writes it; others are looked at one by one."""
UNUSUAL = (b" r='", b"\nr=", b"\tr=", b"\rr=")
CELL = re.compile(rb"""\sr=["']([A-Z]{1,3})(\d{1,7})["']""")
FORMULA = re.compile(rb"""<(?:\w+:)?c\b[^>]*?\sr=["']([A-Z]{1,3})(\d{1,7})["'][^>]*>\s*<(?:\w+:)?f[\s>/]""")
REF = rb"""\sref=["']([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})["']"""
MERGE = re.compile(rb"<(?:\w+:)?mergeCell\b[^>]*?" + REF)


class FileRefused(Exception):
    """Nothing of the file can be taken; the words say why and what to do."""

    def __init__(self, zh: str, en: str, rule: str = "R-06") -> None:
        super().__init__(en)
        self.words = Text(zh, en)
        self.rule = rule


@dataclass
class Hidden:
    """What a sheet hides from a reader of values. Rows and columns count from 1."""

    formulas: set[tuple[int, int]] = field(default_factory=set)
    merges: list[tuple[int, int, int, int]] = field(default_factory=list)
    """First row, first column, last row, last column."""


def burst() -> FileRefused:
    return FileRefused(
        "文件解压后过大，疑为压缩炸弹：请在 Excel 中只保留名单内容，另存后重新上传",
        "the file grows too large when unpacked: keep only the list in it, save it anew and upload again",
    )


def damaged() -> FileRefused:
    return FileRefused(
        "文件已损坏或不完整：请重新导出或另存后再上传",
        "the file is damaged or cut off: export or save it anew and upload again",
    )


def examine(content: bytes) -> dict[str, Hidden]:
    """Look through the file; what each of its sheets hides. Raises FileRefused."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _examine(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError) as error:
        raise damaged() from error
    except RuntimeError as error:  # zipfile's word for a part under a password
        raise FileRefused(
            "文件设有密码：请取消密码后上传", "the file has a password: remove it first"
        ) from error
    except ElementTree.ParseError as error:
        raise damaged() from error


def _examine(archive: zipfile.ZipFile) -> dict[str, Hidden]:
    parts = archive.infolist()
    if len(parts) > MOST_PARTS:
        raise burst()
    names = {part.filename for part in parts}
    _is_workbook(names)
    found: dict[str, Hidden] = {}
    meter = Meter()
    small = {
        name: b"".join(meter.inflate(archive, archive.getinfo(name)))
        for name in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels")
    }
    paths = _sheets(small["xl/workbook.xml"], small["xl/_rels/workbook.xml.rels"])
    for part in parts:
        if part.filename in small:
            continue
        hidden = Hidden()
        for piece in _rows_whole(meter.inflate(archive, part)):
            if part.filename.startswith("xl/worksheets/"):
                _look(piece, hidden)
        found[part.filename] = hidden
    return {name: found[path] for name, path in paths.items() if path in found}


def _is_workbook(names: set[str]) -> None:
    if "xl/vbaProject.bin" in names:
        raise FileRefused(
            "这是带宏的工作簿（.xlsm）：请另存为“Excel 工作簿（.xlsx）”后上传",
            "this is a workbook with macros (.xlsm): save it as .xlsx and upload that",
        )
    if {"xl/workbook.xml", "xl/_rels/workbook.xml.rels", "[Content_Types].xml"} <= names:
        return
    if "xl/workbook.bin" in names or "content.xml" in names:
        raise FileRefused(
            "这是 .xlsb 或 .ods 格式：请另存为 .xlsx 或 CSV 后上传",
            "this is .xlsb or .ods: save it as .xlsx or CSV and upload that",
        )
    raise FileRefused(
        "这是压缩包或其他文件，不是 Excel 工作簿：请上传名单的 .xlsx 或 CSV 文件",
        "this is an archive or another kind of file, not a workbook: upload the list as .xlsx or CSV",
    )


@dataclass
class Meter:
    """Counts what is inflated, and stops when it grows too large."""

    inflated: int = 0
    packed: int = 0

    def inflate(self, archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> Iterator[bytes]:
        self.packed += part.compress_size
        with archive.open(part) as stream:
            while piece := stream.read(PIECE):
                self.inflated += len(piece)
                too_dense = self.inflated > SMALL and self.inflated > MOST_TIMES * max(1, self.packed)
                if self.inflated > MOST_BYTES or too_dense:
                    raise burst()
                yield piece


def _rows_whole(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, cut only behind the end of a row (or where a long stretch has none)."""
    rest = b""
    for piece in pieces:
        rest += piece
        cut = rest.rfind(b"row>") + 4
        if cut >= 4:
            yield rest[:cut]
            rest = rest[cut:]
        elif len(rest) > 8 * PIECE:
            yield rest
            rest = b""
    yield rest


def _look(piece: bytes, hidden: Hidden) -> None:
    if b"<!DOCTYPE" in piece or b"<!ENTITY" in piece:
        raise damaged()
    if FAR.search(piece) is not None or any(mark in piece for mark in UNUSUAL):
        for letters, row in CELL.findall(piece):
            if int(row) > MOST_ROWS or column_number(letters) > MOST_COLUMNS:
                raise FileRefused(
                    f"{letters.decode()}{row.decode()} 处有内容，超出 {MOST_ROWS} 行、{MOST_COLUMNS} 列："
                    "请删除名单以外的内容，或分成几份上传",
                    f"there is something at {letters.decode()}{row.decode()}, beyond {MOST_ROWS} rows or "
                    f"{MOST_COLUMNS} columns: remove what is not the list, or split it",
                )
    if b"<f" in piece or b":f" in piece:
        for letters, row in FORMULA.findall(piece):
            hidden.formulas.add((int(row), column_number(letters)))
    merges = MERGE.findall(piece) if b"mergeCell" in piece else ()
    for first, top, last, bottom in merges:
        hidden.merges.append((int(top), column_number(first), int(bottom), column_number(last)))


def column_number(letters: bytes) -> int:
    """A is 1, Z is 26, AA is 27."""
    return reduce(lambda number, letter: number * 26 + letter - 64, letters, 0)


def _sheets(workbook: bytes, relations: bytes) -> dict[str, str]:
    """Each sheet's part by the sheet's name."""
    if b"<!DOCTYPE" in workbook or b"<!DOCTYPE" in relations:
        raise damaged()
    targets = {
        str(one.get("Id")): str(one.get("Target"))
        for one in ElementTree.fromstring(relations)  # noqa: S314  (no DOCTYPE, so no entities)
    }
    paths: dict[str, str] = {}
    for one in ElementTree.fromstring(workbook).iter():  # noqa: S314
        if one.tag.rpartition("}")[2] != "sheet":
            continue
        relation = next((value for key, value in one.attrib.items() if key.endswith("}id")), "")
        target = targets.get(relation, "")
        paths[str(one.get("name"))] = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    return paths
