"""Money is exact: integer fen inside, a decimal string such as "1234567.89" at the edge.

A request uses `Amount` or `NonNegative`, which take nothing but such strings, whichever way the request
was parsed (no JSON numbers, no "1e3", no blanks, no full-width digits). Events and replies use `Money`,
which our own code builds from integer fen; read from JSON it is as strict. The two kinds carry different
JSON-Schema formats (`amount`, `money`), so that a guard can tell one in the other's place. Rates are
percent per year with at most four places.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

YUAN = re.compile(r"(-?)(0|[1-9][0-9]{0,12})\.([0-9]{2})")
PERCENT = re.compile(r"(?:0|[1-9][0-9]?)(?:\.[0-9]{1,4})?")
FOUR_PLACES = Decimal("0.0001")
LIMIT_FEN = 10**15

_ABOVE_ZERO = r"(0\.(0[1-9]|[1-9][0-9])|[1-9][0-9]{0,12}\.[0-9]{2})"
_PATTERNS = {
    None: rf"^(-?{_ABOVE_ZERO}|0\.00)$",
    0: rf"^({_ABOVE_ZERO}|0\.00)$",
    1: rf"^{_ABOVE_ZERO}$",
}


def parse_money(text: str) -> int:
    """Fen of a decimal string with exactly two places, |fen| < 10**15; ValueError for anything else."""
    match = YUAN.fullmatch(text)
    if match is None or text == "-0.00":
        raise ValueError("not an amount such as 1234567.89")
    fen = int(match[2]) * 100 + int(match[3])
    return -fen if match[1] else fen


def format_money(fen: int) -> str:
    """The decimal string of an amount in fen."""
    whole, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{whole}.{rest:02d}"


def _from_string(value: Any) -> int:
    if not isinstance(value, str):
        raise PydanticCustomError(
            "money_type", '金额须为字符串，如 "1234567.89"; a string such as "1234567.89"'
        )
    try:
        return parse_money(value)
    except ValueError as error:
        raise PydanticCustomError(
            "money_form", "金额须为两位小数，如 1234567.89; two decimal places, such as 1234567.89"
        ) from error


def _fen(value: Any) -> int:
    if type(value) is not int or not -LIMIT_FEN < value < LIMIT_FEN:
        raise PydanticCustomError("money_fen", "须为整数分; integer fen expected")
    return value


class _MoneyForm:
    """How an integer of fen is read, written and described."""

    def __init__(self, *, request: bool, minimum_fen: int | None = None) -> None:
        self.request = request
        self.minimum_fen = minimum_fen

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.no_info_plain_validator_function(
            _from_string if self.minimum_fen is None else self._checked
        )
        inside = core_schema.no_info_plain_validator_function(_fen)
        return core_schema.json_or_python_schema(
            text,
            text if self.request else inside,
            serialization=core_schema.plain_serializer_function_ser_schema(
                format_money, return_schema=core_schema.str_schema()
            ),
        )

    def _checked(self, value: Any) -> int:
        fen = _from_string(value)
        if self.minimum_fen is not None and fen < self.minimum_fen:
            raise PydanticCustomError(
                "money_minimum",
                "不得小于 {least}; must be at least {least}",
                {"least": format_money(self.minimum_fen)},
            )
        return fen

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "format": "amount" if self.request else "money",
            "pattern": _PATTERNS[self.minimum_fen],
            "examples": ["1234567.89"],
        }


Money = Annotated[int, _MoneyForm(request=False)]
"""An amount of any sign in events and replies: built from integer fen (int only, no bool, no float)."""
Amount = Annotated[int, _MoneyForm(request=True, minimum_fen=1)]
"""A request's amount above zero: a string, and integer fen once read."""
NonNegative = Annotated[int, _MoneyForm(request=True, minimum_fen=0)]
"""A request's amount of zero or more: a string, and integer fen once read."""


class _RateForm:
    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _rate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                format_rate, return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "format": "percent-per-year",
            "pattern": r"^(0|[1-9][0-9]?)(\.[0-9]{1,4})?$",
            "examples": ["4.3500"],
        }


def _rate(value: Any) -> Decimal:
    try:
        return parse_rate(value) if isinstance(value, str) else checked_rate(value)
    except ValueError as error:
        raise PydanticCustomError(
            "rate_form",
            "年利率为百分数字符串，至多四位小数，如 4.3500; "
            "percent per year as a string with at most four places, such as 4.3500",
        ) from error


def parse_rate(text: str) -> Decimal:
    """Percent per year of a string such as "4.35", with four places; ValueError for anything else."""
    if PERCENT.fullmatch(text) is None:
        raise ValueError("not a rate such as 4.3500")
    return Decimal(text).quantize(FOUR_PLACES)


def checked_rate(rate: Decimal) -> Decimal:
    """The same rate with four places; ValueError unless a Decimal, 0 <= rate < 100, no fifth place."""
    if not isinstance(rate, Decimal) or not rate.is_finite() or not 0 <= rate < 100:
        raise ValueError("not a rate such as 4.3500")
    exact = abs(rate.quantize(FOUR_PLACES))
    if exact != rate:
        raise ValueError("a rate has at most four places")
    return exact


def format_rate(rate: Decimal) -> str:
    """Percent per year with four places, such as "4.3500"."""
    return str(rate.quantize(FOUR_PLACES))


Rate = Annotated[Decimal, _RateForm()]
"""Percent per year, 0 <= rate < 100, four places: strings (or Decimal in our own code), never numbers."""


def percent_down(fen: int, percent: int) -> int:
    """`percent` % of an amount, rounded down to the fen (R-42)."""
    return fen * percent // 100


def round_half_up(value: Fraction | int, denominator: int = 1) -> int:
    """`value` / `denominator` to the nearest integer, a half away from zero (R-28, R-41)."""
    over = value.denominator * denominator
    if over <= 0:
        raise ValueError("the denominator must be above zero")
    magnitude = (2 * abs(value.numerator) + over) // (2 * over)
    return magnitude if value >= 0 else -magnitude


def interest(principal_fen: int, rate: Decimal, days: int, day_count: int) -> Fraction:
    """Simple interest in fen, exact and unrounded: principal * rate % * days / day count (R-28, R-41)."""
    numerator, denominator = rate.as_integer_ratio()
    return Fraction(principal_fen * numerator * days, denominator * 100 * day_count)


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Split a total by weights to whole units that add up; what is left over goes to the largest
    remainders, the first listed among equals. A negative total is the mirror of the positive one (R-60)."""
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("weights must be zero or more and add up to more than zero")
    sign = -1 if total < 0 else 1
    parts = [abs(total) * weight // whole for weight in weights]
    remainders = [abs(total) * weight % whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-remainders[i], i))
    for i in order[: abs(total) - sum(parts)]:
        parts[i] += 1
    return [sign * part for part in parts]


CAPITALS = "零壹贰叁肆伍陆柒捌玖"


def capital(fen: int) -> str:
    """An amount in capital numerals (大写, R-46): 10000000 fen is 人民币壹拾万元整.

    The zero where custom leaves the choice (106,000 or 10.50) is not written; 整 ends every amount
    without fen.
    """
    yuan, rest = divmod(abs(fen), 100)
    jiao, single = divmod(rest, 10)
    words = f"{_spell(yuan)}元" if yuan or not rest else ""
    if jiao:
        words += f"{CAPITALS[jiao]}角"
    elif single and yuan:
        words += "零"
    words += f"{CAPITALS[single]}分" if single else "整"
    return f"人民币{'负' if fen < 0 else ''}{words}"


def _spell(number: int) -> str:
    """A whole number in capital numerals, with one 零 for each run of skipped places."""
    for size, name in ((10**8, "亿"), (10**4, "万"), (1000, "仟"), (100, "佰"), (10, "拾")):
        if number >= size:
            head, tail = divmod(number, size)
            gap = "零" if 0 < tail < size // 10 else ""
            return _spell(head) + name + gap + (_spell(tail) if tail else "")
    return CAPITALS[number]
