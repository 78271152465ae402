"""Money is exact: integer fen inside, a decimal string such as "1234567.89" at the edge.

Requests use `Amount` and `NonNegative`, which take nothing but such strings (no JSON numbers, no
"1e3", no blanks, no full-width digits). Events and replies use `Money`, which our own code builds from
integer fen; read from JSON it is as strict. Rates are percent per year with at most four places.
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


def parse_money(text: str) -> int:
    """Fen of a decimal string with exactly two places; ValueError for anything else."""
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
    if type(value) is not int or abs(value) >= LIMIT_FEN:
        raise PydanticCustomError("money_fen", "integer fen expected")
    return value


class _MoneyForm:
    """How an integer of fen is read, written and described."""

    def __init__(self, *, request: bool, minimum_fen: int | None = None) -> None:
        self.request = request
        self.minimum_fen = minimum_fen

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.no_info_plain_validator_function(self._checked)
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
            "pattern": r"^-?(0|[1-9][0-9]{0,12})\.[0-9]{2}$",
            "examples": ["1234567.89"],
        }


Money = Annotated[int, _MoneyForm(request=False)]
"""An amount in events and replies: built from integer fen."""
Amount = Annotated[int, _MoneyForm(request=True, minimum_fen=1)]
"""A request's amount above zero."""
NonNegative = Annotated[int, _MoneyForm(request=True, minimum_fen=0)]
"""A request's amount of zero or more."""


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
    if isinstance(value, str) and PERCENT.fullmatch(value):
        return Decimal(value).quantize(FOUR_PLACES)
    if isinstance(value, Decimal) and 0 <= value < 100 and value == value.quantize(FOUR_PLACES):
        return value.quantize(FOUR_PLACES)
    raise PydanticCustomError(
        "rate_form",
        "年利率为百分数字符串，至多四位小数，如 4.3500; percent per year as a string, such as 4.3500",
    )


def format_rate(rate: Decimal) -> str:
    return str(rate.quantize(FOUR_PLACES))


Rate = Annotated[Decimal, _RateForm()]
"""Percent per year, 0 ≤ rate < 100, four places; strings (or Decimal in our own code), never floats."""


def percent_down(fen: int, percent: int) -> int:
    """`percent` % of a non-negative amount, rounded down to the fen."""
    return fen * percent // 100


def round_half_up(value: Fraction) -> int:
    """The nearest integer; halves away from zero."""
    magnitude = (2 * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return magnitude if value >= 0 else -magnitude


def interest(principal_fen: int, rate: Decimal, days: int, day_count: int) -> Fraction:
    """Simple interest in fen, exact: principal × rate % × days ÷ day count."""
    return principal_fen * Fraction(rate) / 100 * days / day_count


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Split a total by weights to whole units that add up; what is left over goes to the largest
    remainders, the first listed among equals. A negative total is the mirror of the positive one."""
    whole = sum(weights)
    if whole <= 0:
        raise ValueError("weights must add up to more than zero")
    sign = -1 if total < 0 else 1
    parts = [abs(total) * weight // whole for weight in weights]
    remainders = [abs(total) * weight % whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-remainders[i], i))
    for i in order[: abs(total) - sum(parts)]:
        parts[i] += 1
    return [sign * part for part in parts]
