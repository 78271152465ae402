"""The columns of a list as people write them, and a row's cells read as what they mean (R-01, R-02, R-06).

Every fault of a row is told with its column and how to mend it; a row with a fault is refused, and only
that row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any

from services.roster import uscc
from services.roster.imported import BETWEEN_CELLS, Kind
from shared.rules import Text

NAMES: Mapping[str, tuple[str, ...]] = {
    "uscc": ("统一社会信用代码", "社会信用代码", "统一信用代码", "信用代码", "企业统一社会信用代码", "uscc"),
    "name": ("企业名称", "单位名称", "公司名称", "名称", "企业", "申报单位", "name"),
    "document_no": (
        "文号", "文件文号", "文件号", "认定文号", "证书编号/文号", "文号/证书编号", "document_no",
    ),
    "certificate_no": ("证书编号", "证书号", "certificate_no"),
    "issued_on": ("发证日期", "发证时间", "认定日期", "认定时间", "发文日期", "issued_on"),
    "valid_from": (
        "有效期起", "有效期开始", "有效期自", "有效期起始", "有效期起始日期", "有效起始日期",
        "执行期起", "执行期开始", "执行期起始日期", "valid_from",
    ),
    "valid_to": (
        "有效期止", "有效期至", "有效期截止", "有效期终止", "有效期截止日期", "有效期终止日期", "到期日期",
        "执行期止", "执行期至", "执行期终止", "执行期截止日期", "valid_to",
    ),
}  # fmt: skip
"""Each column by the headings people give it; the first is the template's for a qualification."""
D_CLASS_HEADINGS = {"valid_from": "执行期起", "valid_to": "执行期止"}
REQUIRED = ("uscc", "name")
FIELD_OF = {heading: field for field, headings in NAMES.items() for heading in headings}
OPEN_ENDED = {"长期", "永久", "长期有效", "无固定期限", "无限期"}
EARLIEST, LATEST = date(1980, 1, 1), date(2199, 12, 31)
DAY = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.0+)?)?)?")
COMPACT_DAY = re.compile(r"(\d{4})(\d{2})(\d{2})")
UNCLEAR_DAY = re.compile(r"\d{1,2}[-/.年]\d{1,2}[-/.月]\d{1,4}日?")


@dataclass(frozen=True, slots=True)
class Given:
    """What the upload's form says of the whole list; a row's own cells go before it."""

    kind: Kind
    document_no: str
    issued_on: date | None
    valid_from: date | None
    valid_to: date | None
    today: date


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a row: in which column, by which rule, in words."""

    column: str
    rule: str
    words: Text

    def as_json(self) -> dict[str, str]:
        return {"column": self.column, "rule": self.rule, "zh": self.words.zh, "en": self.words.en}


class Faulty(ValueError):
    """A cell that cannot be read as what its column says."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.words = Text(zh, en)


def heading(cell: Any) -> str:
    """A heading as it is compared: half-width, without spaces, marks and notes in brackets."""
    plain = unicodedata.normalize("NFKC", str(cell or ""))
    return re.sub(r"\(.*?\)|[\s*:]", "", plain).lower()


def written(cell: Any) -> str:
    """A cell as a person would write it."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell.strip().replace("\x00", "").replace(BETWEEN_CELLS, " ")
    if isinstance(cell, datetime):
        return str(cell.date()) if cell.time() == time.min else str(cell)
    if isinstance(cell, bool | date | int):
        return str(cell)
    return str(int(cell)) if cell == cell // 1 else str(cell)


def code_in(cell: Any) -> str:
    """The unified social credit code in a cell. Raises Faulty (R-01)."""
    if cell is None or cell == "":
        raise Faulty("未填", "is missing")
    if not isinstance(cell, str):
        raise Faulty(
            "代码被存成了数字，超过 15 位的数字已丢失：请把该列设为“文本”格式后重新填写",
            "the code was stored as a number, which keeps 15 digits only: format the column as text",
        )
    code = uscc.tidy(cell)
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


class RowReader:
    """Reads the rows of one list by its columns (field → place)."""

    def __init__(self, given: Given, headers: Sequence[str], places: Mapping[str, int]) -> None:
        self.given = given
        self.headers = headers
        self.places = places

    def read(self, number: int, cells: Sequence[Any], spoiled: Sequence[Problem]) -> tuple[Any, ...]:
        """The staged form of a row: number, code, name, document, certificate, issued, from, to, faults
        (None without), original cells."""
        faults = list(spoiled)
        code = self._take(cells, "uscc", "R-01", code_in, faults)
        name = self._take(cells, "name", "R-06", name_in, faults)
        document = self._text(cells, "document_no") or self.given.document_no
        certificate = self._text(cells, "certificate_no")
        issued = self._take(cells, "issued_on", "R-02", day_in, faults) or self.given.issued_on
        first = self._take(cells, "valid_from", "R-02", day_in, faults) or self.given.valid_from
        last, said = self._take(cells, "valid_to", "R-02", last_day_in, faults) or (None, False)
        if not said:
            last = self.given.valid_to
        if not faults:
            faults += self._contradictions(issued, first, last)
        told = [fault.as_json() for fault in faults] or None
        originals = BETWEEN_CELLS.join(map(written, cells))
        return number, code, name, document, certificate, issued, first, last, told, originals

    def _take(self, cells: Sequence[Any], field: str, rule: str, read: Any, faults: list[Problem]) -> Any:
        place = self.places.get(field)
        if place is None:
            return None
        try:
            return read(cells[place])
        except Faulty as fault:
            faults.append(Problem(self.headers[place], rule, fault.words))
            return None

    def _text(self, cells: Sequence[Any], field: str) -> str | None:
        place = self.places.get(field)
        return (written(cells[place])[:200] or None) if place is not None else None

    def _column(self, field: str) -> str:
        place = self.places.get(field)
        if place is not None:
            return self.headers[place]
        return (
            D_CLASS_HEADINGS.get(field, NAMES[field][0]) if self.given.kind == "d_class" else NAMES[field][0]
        )

    def _contradictions(self, issued: date | None, first: date | None, last: date | None) -> list[Problem]:
        """What the days of a row say against each other, or leave out."""
        found: list[Problem] = []

        def tell(field: str, zh: str, en: str) -> None:
            found.append(Problem(self._column(field), "R-02", Text(zh, en)))

        if first is None:
            tell("valid_from", "本行和表单都没有填", "neither the row nor the form gives it")
        if last is None and self.given.kind == "d_class":
            tell("valid_to", "D 类执行期须有止日", "a D-class period has a last day")
        if first and last and last < first:
            tell("valid_to", f"{last} 早于起日 {first}", f"{last} is before the first day {first}")
        if issued and issued > self.given.today:
            tell("issued_on", f"{issued} 晚于今天", f"{issued} is in the future")
        return found


def name_in(cell: Any) -> str:
    """The enterprise's name in a cell. Raises Faulty."""
    name = " ".join(written(cell).split())
    if len(name) < 2:
        raise Faulty("未填或过短", "is missing or too short")
    if len(name) > 200:
        raise Faulty("超过 200 字", "has more than 200 characters")
    return name
