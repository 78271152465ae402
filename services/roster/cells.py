"""A cell of a list read as what its column says: a code, a day, a name (R-01, R-02, R-06). Pure.

What could be read two ways is not guessed: it is refused, with how to mend it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

from shared import uscc
from shared.rules import Text

BETWEEN_CELLS = "\x1f"
"""Between a row's original cells where they are kept as one text (the ASCII unit separator)."""
BLANK = f" \t\r\n\u3000{BETWEEN_CELLS}"
OPEN_ENDED = {"长期", "永久", "长期有效", "无固定期限", "无限期"}
EARLIEST, LATEST = date(1980, 1, 1), date(2199, 12, 31)
DAY = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.0+)?)?)?")
COMPACT_DAY = re.compile(r"(\d{4})(\d{2})(\d{2})")
UNCLEAR_DAY = re.compile(r"\d{1,2}[-/.年]\d{1,2}[-/.月]\d{1,4}日?")


class Faulty(ValueError):
    """A cell that cannot be read as what its column says."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.words = Text(zh, en)


def written(cell: Any) -> str:
    """A cell as a person would write it."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        plain = cell.strip()
        if "\x00" in plain or BETWEEN_CELLS in plain:
            return plain.replace("\x00", "").replace(BETWEEN_CELLS, " ")
        return plain
    if isinstance(cell, datetime):
        return str(cell.date()) if cell.time() == time.min else str(cell)
    if isinstance(cell, bool | date | int | time | timedelta):
        return str(cell)
    return str(int(cell)) if cell == cell // 1 else str(cell)


def originals(cells: Sequence[Any]) -> str:
    """A row's cells as one text, to be shown and mended as they were; empty for a blank row."""
    try:
        joined = BETWEEN_CELLS.join(cells)
    except TypeError:  # some are numbers or days
        joined = BETWEEN_CELLS.join(map(written, cells))
    if "\x00" in joined or joined.count(BETWEEN_CELLS) >= len(cells):
        joined = BETWEEN_CELLS.join(map(written, cells))
    return joined if joined.strip(BLANK) else ""


def code_in(cell: Any) -> str:
    """The unified social credit code in a cell. Raises Faulty (R-01)."""
    if cell is None or cell == "":
        raise Faulty("未填", "is missing")
    if not isinstance(cell, str):
        raise Faulty(
            "代码被存成了数字，超过 15 位的数字已丢失：请把该列设为“文本”格式后重新填写",
            "the code was stored as a number, which keeps 15 digits only: format the column as text",
        )
    code = uscc.tidy(written(cell))
    if uscc.is_true(code):
        return code
    words = uscc.fault(code) if code else Text("未填", "is missing")
    raise Faulty(words.zh, words.en)


def day_in(cell: Any) -> date | None:
    """The date in a cell, None in an empty one. Raises Faulty for anything that could be read two ways."""
    if isinstance(cell, datetime):
        return _plausible(cell.date())
    if isinstance(cell, date):
        return _plausible(cell)
    if isinstance(cell, time | timedelta):
        raise Faulty(
            f"{cell} 是时间，不是日期（0 设为日期格式时也会如此）：请写成 2024-01-05，没有的留空",
            f"{cell} is a time and no day (as is a 0 formatted as date): write 2024-01-05, or leave it empty",
        )
    text = written(cell)
    return _day_of(text) if text else None


@lru_cache(maxsize=4096)
def _day_of(text: str) -> date:
    plain = unicodedata.normalize("NFKC", text)
    found = DAY.fullmatch(plain) or COMPACT_DAY.fullmatch(plain)
    if found is not None:
        try:
            return _plausible(date(*map(int, found.groups())))
        except ValueError as error:
            if isinstance(error, Faulty):
                raise
            raise Faulty(f"没有 {text} 这一天", f"there is no day {text}") from error
    if UNCLEAR_DAY.fullmatch(plain):
        raise Faulty(
            f"{text} 可有几种读法：请写成 2024-01-05", f"{text} can be read in several ways: write 2024-01-05"
        )
    if plain.replace(".", "").isdigit():
        raise Faulty(
            f"{text} 是未设日期格式的数字：请把该列设为日期格式，或写成 2024-01-05",
            f"{text} is a number without a date format: format the column as date, or write 2024-01-05",
        )
    raise Faulty(f"“{text}”不是日期：请写成 2024-01-05", f"“{text}” is not a date: write 2024-01-05")


def _plausible(day: date) -> date:
    if not EARLIEST <= day <= LATEST:
        raise Faulty(f"{day} 不可信，请核对年份", f"{day} is implausible: look at the year")
    return day


def last_day_in(cell: Any) -> tuple[date | None, bool]:
    """The last day in a cell, and whether the cell says anything (an open end, 长期, is said)."""
    text = written(cell) if isinstance(cell, str) else ""
    if text in OPEN_ENDED:
        return None, True
    day = day_in(cell)
    return day, day is not None


def name_in(cell: Any) -> str:
    """The enterprise's name in a cell. Raises Faulty."""
    name = " ".join(uscc.INVISIBLE.sub("", written(cell)).split())
    if len(name) < 2:
        raise Faulty("未填或过短", "is missing or too short")
    if len(name) > 200:
        raise Faulty("超过 200 字", "has more than 200 characters")
    return name
