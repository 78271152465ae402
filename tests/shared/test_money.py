"""Money and rates: strict at the edge, exact inside (R-28, R-41, R-42, R-46, R-60)."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Query
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from shared.money import (
    LIMIT_FEN,
    Amount,
    Money,
    NonNegative,
    Rate,
    capital,
    checked_rate,
    format_money,
    format_rate,
    interest,
    largest_remainder,
    parse_money,
    parse_rate,
    percent_down,
    round_half_up,
)

FEN = st.integers(-LIMIT_FEN + 1, LIMIT_FEN - 1)
NOT_AMOUNTS = [
    "",
    "5",
    "5.0",
    "5.000",
    "1e3",
    " 5.00",
    "5.00 ",
    "5.00\n",
    "+5.00",
    "-0.00",
    "--5.00",
    "05.00",
    "00.00",
    ".50",
    "5.",
    "1,000.00",
    "1_000.00",
    "１２.００",
    "٥.٠٠",
    "5,00",
    "NaN",
    "Infinity",
    "¥5.00",
    "10000000000000.00",
]


class Asked(BaseModel):
    amount: Amount
    costs: NonNegative = 0
    rate: Rate = Decimal("4.35")


class Told(BaseModel):
    change: Money
    rate: Rate | None = None


@given(FEN)
def test_an_amount_written_and_read_again_is_the_same(fen: int) -> None:
    assert parse_money(format_money(fen)) == fen


@pytest.mark.parametrize("text", NOT_AMOUNTS)
def test_only_a_plain_decimal_with_two_places_is_an_amount(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        parse_money(text)
    with pytest.raises(ValidationError):
        Asked.model_validate_json(json.dumps({"amount": text}))
    with pytest.raises(ValidationError):
        Told.model_validate_json(json.dumps({"change": text}))


@given(st.text(max_size=12) | st.from_regex(r"-?[0-9]{1,15}\.[0-9]{1,3}", fullmatch=True))
def test_whatever_is_read_as_an_amount_is_written_back_letter_for_letter(text: str) -> None:
    try:
        fen = parse_money(text)
    except ValueError:
        return
    assert format_money(fen) == text
    assert abs(fen) < LIMIT_FEN


@pytest.mark.parametrize("value", [5, 5.0, True, None, ["5.00"], Decimal("5.00"), b"5.00"])
def test_a_request_takes_no_amount_that_is_not_a_string(value: object) -> None:
    with pytest.raises(ValidationError):
        Asked.model_validate({"amount": value})


@pytest.mark.parametrize("number", ["5", "5.00", "500", "true", "null"])
def test_json_numbers_are_refused_everywhere(number: str) -> None:
    for model, member in ((Asked, "amount"), (Asked, "costs"), (Asked, "rate"), (Told, "change")):
        with pytest.raises(ValidationError):
            model.model_validate_json(f'{{"amount": "1.00", "change": "1.00", "{member}": {number}}}')


async def test_a_request_over_http_holds_the_same_line() -> None:
    app = FastAPI()

    @app.post("/loans")
    async def file(asked: Asked, at_least: Annotated[NonNegative, Query()] = 0) -> Told:
        return Told(change=asked.amount - asked.costs - at_least, rate=asked.rate)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://city") as client:
        answer = await client.post(
            "/loans", json={"amount": "12.30", "rate": "4.3"}, params={"at_least": "2.00"}
        )
        assert answer.json() == {"change": "10.30", "rate": "4.3000"}
        for amount in (1230, 12.3, True, "0.00", "-1.00", "12.3"):
            refused = await client.post("/loans", json={"amount": amount})
            assert refused.status_code == 422
        refused = await client.post("/loans", json={"amount": "1.00", "rate": 4.3})
        assert refused.status_code == 422
        refused = await client.post("/loans", json={"amount": "1.00"}, params={"at_least": "2"})
        assert refused.status_code == 422


def test_an_amount_is_above_zero_and_a_non_negative_may_be_zero() -> None:
    assert Asked(amount="0.01", costs="0.00").amount == 1
    for amount, costs in (("0.00", "0.00"), ("-0.01", "0.00"), ("0.01", "-0.01")):
        with pytest.raises(ValidationError, match=r"must be at least 0\.0"):
            Asked.model_validate({"amount": amount, "costs": costs})


@pytest.mark.parametrize("value", [5.0, True, Decimal(5), "5.00", LIMIT_FEN, -LIMIT_FEN])
def test_our_own_code_builds_money_from_integer_fen_only(value: object) -> None:
    with pytest.raises(ValidationError):
        Told.model_validate({"change": value})


@given(FEN)
def test_money_is_a_string_in_json_and_python_dumps_and_comes_back(fen: int) -> None:
    told = Told(change=fen)
    assert told.model_dump()["change"] == format_money(fen)
    assert Told.model_validate_json(told.model_dump_json()) == told


@given(FEN)
def test_the_schemas_pattern_and_the_reader_agree(fen: int) -> None:
    text = format_money(fen)
    for model, member, least in ((Told, "change", None), (Asked, "amount", 1), (Asked, "costs", 0)):
        schema = model.model_json_schema()["properties"][member]
        assert schema["type"] == "string"
        assert bool(re.search(schema["pattern"], text)) == (least is None or fen >= least)
        assert re.search(schema["pattern"], schema["examples"][0])


@pytest.mark.parametrize("text", NOT_AMOUNTS)
def test_the_schemas_pattern_refuses_what_the_reader_refuses(text: str) -> None:
    pattern = Told.model_json_schema()["properties"]["change"]["pattern"]
    assert not re.search(pattern.replace("$", r"\Z"), text)


def test_request_and_reply_amounts_can_be_told_apart_in_the_schema() -> None:
    assert Asked.model_json_schema()["properties"]["amount"]["format"] == "amount"
    assert Told.model_json_schema()["properties"]["change"]["format"] == "money"


@given(st.integers(0, 999_999))
def test_a_rate_written_and_read_again_is_the_same(ten_thousandths: int) -> None:
    rate = Decimal(ten_thousandths).scaleb(-4)
    told = Told(change=0, rate=rate)
    assert Told.model_validate_json(told.model_dump_json()).rate == rate
    assert re.fullmatch(r"[0-9]{1,2}\.[0-9]{4}", format_rate(rate))


@pytest.mark.parametrize(("text", "shown"), [("4", "4.0000"), ("4.35", "4.3500"), ("0", "0.0000")])
def test_a_rate_has_four_places(text: str, shown: str) -> None:
    assert Asked.model_validate({"amount": "1.00", "rate": text}).model_dump()["rate"] == shown


@pytest.mark.parametrize(
    "text", ["", "100", "-1", "4.35001", "4.", ".5", "04.35", "4,35", "4e0", "+4", " 4", "4%", "４", "NaN"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a rate"):
        parse_rate(text)
    with pytest.raises(ValidationError, match="percent per year"):
        Told.model_validate_json(json.dumps({"change": "0.00", "rate": text}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "100", "-0.0001", "4.35001"])
def test_our_own_code_cannot_build_a_rate_outside_the_form(number: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        checked_rate(Decimal(number))
    with pytest.raises(ValidationError):
        Told(change=0, rate=Decimal(number))


@given(st.integers(0, LIMIT_FEN), st.integers(0, 100))
def test_r42_a_percentage_is_rounded_down_and_off_by_less_than_a_fen(fen: int, percent: int) -> None:
    share = percent_down(fen, percent)
    assert 0 <= Fraction(fen * percent, 100) - share < 1


@given(st.integers(0, LIMIT_FEN), st.integers(0, 100), st.integers(0, 100))
def test_r42_what_two_shares_rounded_down_leave_is_never_negative(fen: int, fund: int, other: int) -> None:
    guarantor = min(other, 100 - fund)
    assert fen - percent_down(fen, fund) - percent_down(fen, guarantor) >= 0


def test_r42_worked_example_one_to_the_fen() -> None:
    principal, unpaid = parse_money("3000000.01"), parse_money("45678.93")
    assert format_money(percent_down(principal, 40)) == "1200000.00"
    assert format_money(percent_down(unpaid, 40)) == "18271.57"
    assert format_money(principal - 2 * percent_down(principal, 40)) == "600000.01"
    assert format_money(unpaid - 2 * percent_down(unpaid, 40)) == "9135.79"


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (Fraction(1, 2), 1),
        (Fraction(-1, 2), -1),
        (Fraction(3, 2), 2),
        (Fraction(5, 2), 3),
        (Fraction(49, 100), 0),
    ],
)
def test_r28_half_a_fen_is_rounded_up(value: Fraction, rounded: int) -> None:
    assert round_half_up(value) == rounded
    assert round_half_up(value.numerator, value.denominator) == rounded


@given(st.fractions(max_denominator=10**6))
def test_r28_rounding_moves_at_most_half_and_mirrors_at_zero(value: Fraction) -> None:
    assert abs(round_half_up(value) - value) <= Fraction(1, 2)
    assert round_half_up(-value) == -round_half_up(value)


@pytest.mark.parametrize("denominator", [0, -2])
def test_r28_rounding_needs_a_denominator_above_zero(denominator: int) -> None:
    with pytest.raises(ValueError, match="denominator"):
        round_half_up(1, denominator)


def test_r28_a_month_of_interest_on_the_day() -> None:
    owed = interest(parse_money("1000000.00"), Decimal("4.35"), 31, 360)
    assert format_money(round_half_up(owed)) == "3745.83"
    assert interest(parse_money("1000000.00"), Decimal("4.35"), 31, 365) < owed


@given(
    st.integers(0, LIMIT_FEN),
    st.integers(0, 999_999),
    st.integers(0, 4000),
    st.integers(0, 4000),
    st.sampled_from([360, 365]),
)
def test_r41_interest_is_exact_so_that_days_can_be_split_anywhere(
    principal: int, ten_thousandths: int, first: int, second: int, day_count: int
) -> None:
    rate = Decimal(ten_thousandths).scaleb(-4)
    parts = interest(principal, rate, first, day_count) + interest(principal, rate, second, day_count)
    assert parts == interest(principal, rate, first + second, day_count)


@given(st.integers(-LIMIT_FEN, LIMIT_FEN), st.lists(st.integers(0, LIMIT_FEN), min_size=1, max_size=5))
def test_r60_a_split_adds_up_and_is_off_by_less_than_a_fen(total: int, weights: list[int]) -> None:
    if sum(weights) == 0:
        with pytest.raises(ValueError, match="weights"):
            largest_remainder(total, weights)
        return
    parts = largest_remainder(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1
        assert part == 0 or weight > 0


@given(st.integers(0, LIMIT_FEN), st.lists(st.integers(1, 100), min_size=2, max_size=4))
def test_r60_the_split_of_costs_owed_mirrors_the_split_of_money(total: int, weights: list[int]) -> None:
    assert largest_remainder(-total, weights) == [-part for part in largest_remainder(total, weights)]


def test_r60_the_first_listed_wins_among_equal_remainders() -> None:
    assert largest_remainder(1, [40, 40, 20]) == [1, 0, 0]
    assert largest_remainder(3, [40, 40, 20]) == [1, 1, 1]
    assert largest_remainder(2, [1, 1, 1]) == [1, 1, 0]
    assert largest_remainder(4, [60, 0, 40]) == [2, 0, 2]


def test_r60_negative_weights_and_no_weights_are_refused() -> None:
    for weights in ([], [0, 0], [3, -1]):
        with pytest.raises(ValueError, match="weights"):
            largest_remainder(100, weights)


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("0.00", "人民币零元整"),
        ("0.05", "人民币伍分"),
        ("0.50", "人民币伍角整"),
        ("0.58", "人民币伍角捌分"),
        ("10.00", "人民币壹拾元整"),
        ("325.04", "人民币叁佰贰拾伍元零肆分"),
        ("1409.50", "人民币壹仟肆佰零玖元伍角整"),
        ("1680.32", "人民币壹仟陆佰捌拾元叁角贰分"),
        ("6007.14", "人民币陆仟零柒元壹角肆分"),
        ("16409.02", "人民币壹万陆仟肆佰零玖元零贰分"),
        ("100000.00", "人民币壹拾万元整"),
        ("100001.00", "人民币壹拾万零壹元整"),
        ("107000.53", "人民币壹拾万柒仟元伍角叁分"),
        ("1200000.00", "人民币壹佰贰拾万元整"),
        ("3045678.94", "人民币叁佰零肆万伍仟陆佰柒拾捌元玖角肆分"),
        ("10000000.00", "人民币壹仟万元整"),
        ("100050000.00", "人民币壹亿零伍万元整"),
        ("100000001.00", "人民币壹亿零壹元整"),
        ("200000000000.00", "人民币贰仟亿元整"),
        ("-12.34", "人民币负壹拾贰元叁角肆分"),
    ],
)
def test_r46_capital_numerals_follow_the_custom_of_bills(amount: str, words: str) -> None:
    assert capital(parse_money(amount)) == words


DIGIT = {character: digit for digit, character in enumerate("零壹贰叁肆伍陆柒捌玖")}
PLACE = {"拾": 10, "佰": 100, "仟": 1000}


def value_of(words: str) -> int:
    """Fen of an amount in capital numerals, read the other way round by counting places."""
    fen = section = whole = digit = 0
    for character in words.removeprefix("人民币").removeprefix("负"):
        if character in DIGIT:
            digit = DIGIT[character]
            continue
        if character in PLACE:
            section += digit * PLACE[character]
        elif character == "万":
            whole, section = whole + (section + digit) * 10**4, 0
        elif character == "亿":
            whole, section = (whole + section + digit) * 10**8, 0
        elif character == "元":
            fen = (whole + section + digit) * 100
        elif character in "角分":
            fen += digit * (10 if character == "角" else 1)
        digit = 0
    return -fen if "负" in words else fen


@given(FEN)
def test_r46_capital_numerals_say_the_same_amount(fen: int) -> None:
    words = capital(fen)
    assert value_of(words) == fen
    assert "零零" not in words
    assert words.endswith("分") != words.endswith("整")
