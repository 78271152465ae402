"""A recognition list or D-class list of any size, with true check characters, for tests and measurements.

`python -m bench.recognition_list --rows 100000 --out list.xlsx` (or .csv); `--broken 0.02` spoils that
share of the rows, in every way in turn. The same `--seed` gives the same list.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import xlsxwriter

from shared.uscc import ALPHABET, check_character

HEADERS = {
    "qualification": ("序号", "统一社会信用代码", "企业名称", "证书编号", "发证日期", "有效期起", "有效期止"),
    "d_class": ("序号", "统一社会信用代码", "企业名称", "执行期起", "执行期止"),
}
CODE, NAME = 1, 2
FIRST_DAY = {"qualification": 5, "d_class": 3}
PLACES = ("平湖", "嘉兴", "当湖", "乍浦", "新埭", "独山港", "钟埭", "曹桥", "林埭", "广陈")
WORDS = ("精工", "光电", "传感", "新材", "智控", "生物", "软件", "半导体", "能源", "汽配", "数控", "净化")
ENDS = ("科技有限公司", "股份有限公司", "技术有限公司", "智能装备有限公司", "（嘉兴）有限公司")
Row = list[str]


def code(number: int) -> str:
    """The unified social credit code of the enterprise of this number, check character true."""
    letters = ""
    for _ in range(9):
        number, rest = divmod(number, len(ALPHABET))
        letters = ALPHABET[rest] + letters
    first = f"91330482{letters}"
    return first + check_character(first)


def name(number: int) -> str:
    """The enterprise's name; as real names do, it tells where and in what trade it is."""
    steps = zip((PLACES, WORDS, ENDS), (1, len(PLACES), len(PLACES) * len(WORDS)), strict=True)
    place, word, end = (words[number // step % len(words)] for words, step in steps)
    return f"{place}{word}{number:06d}{end}"


def good_row(number: int, kind: str) -> Row:
    row = [str(number + 1), code(number * 7919 + 20_000_000), name(number)]
    if kind == "qualification":
        return [*row, f"GR2025{number:08d}", "2025-12-08", "2025-12-08", "2028-12-07"]
    return [*row, "2026-01-01", "2026-12-31"]


def _wrong_check(row: Row, kind: str) -> None:
    row[CODE] = row[CODE][:-1] + ("0" if row[CODE][-1] != "0" else "1")


def _too_short(row: Row, kind: str) -> None:
    row[CODE] = row[CODE][:15]


def _as_number(row: Row, kind: str) -> None:
    row[CODE] = "9.13305E+17"


def _letter_o(row: Row, kind: str) -> None:
    row[CODE] = row[CODE][:-2] + "O" + row[CODE][-1]


def _no_code(row: Row, kind: str) -> None:
    row[CODE] = ""


def _no_name(row: Row, kind: str) -> None:
    row[NAME] = "  "


def _unclear_day(row: Row, kind: str) -> None:
    row[FIRST_DAY[kind]] = "05/01/2026"


def _no_such_day(row: Row, kind: str) -> None:
    row[FIRST_DAY[kind]] = "2026-02-30"


def _ends_before(row: Row, kind: str) -> None:
    row[FIRST_DAY[kind] + 1] = "2020-01-01"


BREAKS = (
    _wrong_check,
    _too_short,
    _as_number,
    _letter_o,
    _no_code,
    _no_name,
    _unclear_day,
    _no_such_day,
    _ends_before,
)
"""Every way in which a row is spoiled, one after the other."""


def rows(count: int, kind: str = "qualification", broken: float = 0.0, seed: int = 1) -> Iterator[Row]:
    """The rows of a list; a share `broken` of them is spoiled."""
    chance = random.Random(seed)
    spoiled = 0
    for number in range(count):
        row = good_row(number, kind)
        if chance.random() < broken:
            BREAKS[spoiled % len(BREAKS)](row, kind)
            spoiled += 1
        yield row


def xlsx(headers: Sequence[str], lines: Iterator[Row]) -> bytes:
    """A workbook of these rows, every cell text."""
    kept = io.BytesIO()
    with xlsxwriter.Workbook(kept, {"constant_memory": True}) as book:
        sheet = book.add_worksheet("名单")
        for place, line in enumerate([list(headers), *lines]):
            for column, cell in enumerate(line):
                sheet.write_string(place, column, cell)
    return kept.getvalue()


def text(headers: Sequence[str], lines: Iterator[Row], encoding: str = "utf-8-sig") -> bytes:
    """A CSV of these rows."""
    kept = io.StringIO()
    writer = csv.writer(kept)
    writer.writerow(headers)
    writer.writerows(lines)
    return kept.getvalue().encode(encoding)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kind", choices=sorted(HEADERS), default="qualification")
    parser.add_argument("--broken", type=float, default=0.0, help="the share of rows to spoil, 0 to 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--encoding", default="utf-8-sig", help="of a CSV: utf-8, utf-8-sig, gb18030")
    parser.add_argument("--out", type=Path, required=True, help="a file ending in .xlsx or .csv")
    args = parser.parse_args()
    lines = rows(args.rows, args.kind, args.broken, args.seed)
    headers = HEADERS[args.kind]
    whole = xlsx(headers, lines) if args.out.suffix == ".xlsx" else text(headers, lines, args.encoding)
    args.out.write_bytes(whole)


if __name__ == "__main__":
    main()
