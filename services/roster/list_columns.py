"""The columns of a list as people write them, and a row's cells read as what they mean (R-01, R-02, R-06).

Every fault of a row is told with its column and how to mend it; a row with a fault is refused, and only
that row.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.roster.cells import Faulty, code_in, day_in, last_day_in, name_in, written
from services.roster.imported import Kind
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


def heading(cell: Any) -> str:
    """A heading as it is compared: half-width, without spaces, marks and notes in brackets."""
    plain = unicodedata.normalize("NFKC", str(cell or ""))
    return re.sub(r"\(.*?\)|[\s*:]", "", plain).lower()


class RowReader:
    """Reads the rows of one list by its columns (field → place)."""

    def __init__(self, given: Given, headers: Sequence[str], places: Mapping[str, int]) -> None:
        self.given = given
        self.headers = headers
        self.places = places

    def read(self, number: int, cells: Sequence[Any], spoiled: Sequence[Problem]) -> tuple[Any, ...]:
        """The staged form of a row: number, code, name, document, certificate, issued, from, to, faults
        (as JSON text; None without)."""
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
        told = json.dumps([fault.as_json() for fault in faults], ensure_ascii=False) if faults else None
        return number, code, name, document, certificate, issued, first, last, told

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

        unsaid = "本行和表单都没有填", "neither the row nor the form gives it"
        if issued is None and self.given.kind == "qualification":
            tell("issued_on", *unsaid)
        if first is None:
            tell("valid_from", *unsaid)
        if last is None and self.given.kind == "d_class":
            tell("valid_to", "D 类执行期须有止日", "a D-class period has a last day")
        if first and last and last < first:
            tell("valid_to", f"{last} 早于起日 {first}", f"{last} is before the first day {first}")
        if issued and issued > self.given.today:
            tell("issued_on", f"{issued} 晚于今天", f"{issued} is in the future")
        return found
