"""The schedule, what pays it and what is overdue, to the fen (R-27, R-28, R-30).

The figures of the tables were worked out by hand; the laws below them hold for any loan.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lending.schedule import (
    METHODS,
    DueState,
    ImpossibleSchedule,
    Instalment,
    Overpaid,
    allocate,
    check_explicit,
    overdue_since,
    schedule,
    unpaid_overdue,
)

BY_DAYS = ("bullet_interest_monthly", "bullet_interest_quarterly", "equal_principal", "bullet_all")


def plan(
    method: str,
    *,
    amount_fen: int = 10_000_000,
    rate: str = "3.6",
    start: str = "2026-01-15",
    end: str = "2026-04-15",
    due_day: int | None = None,
    day_count: int = 360,
    explicit: Sequence[Instalment] | None = None,
) -> tuple[Instalment, ...]:
    """A schedule; unless told otherwise 1,000.00 yuan of interest every 100 days (1,000 fen a day)."""
    return schedule(
        amount_fen=amount_fen,
        annual_rate=Decimal(rate),
        disbursed_on=date.fromisoformat(start),
        matures_on=date.fromisoformat(end),
        method=method,
        due_day=due_day,
        day_count=day_count,
        explicit=explicit,
    )


def table(dues: Sequence[Instalment]) -> list[tuple[str, int, int]]:
    return [(due.due_on.isoformat(), due.principal_fen, due.interest_fen) for due in dues]


def unpaid(dues: Sequence[Instalment]) -> tuple[DueState, ...]:
    return tuple(DueState(due.due_on, due.principal_fen, due.interest_fen, 0, 0) for due in dues)


def interests(dues: Sequence[Instalment | DueState]) -> list[int]:
    return [due.interest_fen for due in dues]


def test_r28_bullet_with_monthly_interest_from_a_short_first_to_a_short_last_period() -> None:
    """3,000,000.00 at 3.45 % is 28,750 fen a day; 364 days in all."""
    dues = plan(
        "bullet_interest_monthly",
        amount_fen=300_000_000,
        rate="3.45",
        start="2026-03-02",
        end="2027-03-01",
        due_day=21,
    )
    assert table(dues) == [
        ("2026-03-21", 0, 546_250),  # 19 days
        ("2026-04-21", 0, 891_250),  # 31
        ("2026-05-21", 0, 862_500),  # 30
        ("2026-06-21", 0, 891_250),
        ("2026-07-21", 0, 862_500),
        ("2026-08-21", 0, 891_250),
        ("2026-09-21", 0, 891_250),
        ("2026-10-21", 0, 862_500),
        ("2026-11-21", 0, 891_250),
        ("2026-12-21", 0, 862_500),
        ("2027-01-21", 0, 891_250),
        ("2027-02-21", 0, 891_250),
        ("2027-03-01", 300_000_000, 230_000),  # 8 days: the maturity itself does not count
    ]
    assert sum(interests(dues)) == 364 * 28_750


def test_r28_the_last_instalment_takes_the_remainder() -> None:
    """31.62 + 28.56 + 31.62 = 91.80 fen, which is 92: the last is 31, not 32."""
    assert interests(plan("bullet_interest_monthly", amount_fen=10_200)) == [32, 29, 31]


def test_r28_half_a_fen_is_rounded_up() -> None:
    """Half a fen a day: 15.5, 14, 15.5, together 45."""
    assert interests(plan("bullet_interest_monthly", amount_fen=5_000)) == [16, 14, 15]


def test_r28_no_instalment_takes_more_than_is_left_of_the_total() -> None:
    """0.0167 fen a day: months of 30 and 31 days round up to 1, of 28 down to 0; the year is 6.0955."""
    dues = plan("bullet_interest_monthly", amount_fen=167, end="2027-01-15")
    assert interests(dues) == [1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("start", "end", "day_count", "expected"),
    [
        (
            "2024-01-31",
            "2024-04-30",
            360,
            [("2024-02-29", 35_042), ("2024-03-31", 37_458), ("2024-04-30", 36_250)],
        ),
        (
            "2024-01-31",
            "2024-04-30",
            365,
            [("2024-02-29", 34_562), ("2024-03-31", 36_945), ("2024-04-30", 35_753)],
        ),
        (
            "2023-01-31",
            "2023-04-30",
            360,
            [("2023-02-28", 33_833), ("2023-03-31", 37_458), ("2023-04-30", 36_251)],
        ),
    ],
    ids=["leap year of 360", "leap year of 365", "common year of 360"],
)
def test_r28_a_due_day_of_31_falls_on_the_last_day_of_a_shorter_month(
    start: str, end: str, day_count: int, expected: list[tuple[str, int]]
) -> None:
    """100,000.00 at 4.35 % is 1,208.33 (or 1,191.78) fen a day; the common year's 89 days are 107,541.67."""
    dues = plan("bullet_interest_monthly", rate="4.35", start=start, end=end, day_count=day_count)
    assert [(day, interest) for day, _, interest in table(dues)] == expected


@pytest.mark.parametrize(
    ("start", "due_day", "first"),
    [
        ("2026-02-20", 21, "2026-02-21"),
        ("2026-02-21", 21, "2026-03-21"),
        ("2026-02-22", 21, "2026-03-21"),
        ("2026-02-21", None, "2026-03-21"),
        ("2026-01-30", 31, "2026-01-31"),
        ("2026-01-31", 31, "2026-02-28"),
        ("2026-02-28", 31, "2026-03-31"),
        ("2026-02-28", None, "2026-03-28"),
        ("2024-02-28", 30, "2024-02-29"),
        ("2024-02-29", None, "2024-03-29"),
        ("2026-12-31", 1, "2027-01-01"),
    ],
)
def test_r28_the_first_due_is_the_first_due_day_after_the_disbursement(
    start: str, due_day: int | None, first: str
) -> None:
    dues = plan("bullet_interest_monthly", start=start, end="2027-06-30", due_day=due_day)
    days = (date.fromisoformat(first) - date.fromisoformat(start)).days
    assert table(dues)[0] == (first, 0, 1_000 * days)


def test_r28_a_maturity_on_the_due_day_is_one_due() -> None:
    days = [day for day, _, _ in table(plan("bullet_interest_monthly"))]
    assert days == ["2026-02-15", "2026-03-15", "2026-04-15"]


def test_r28_a_loan_that_matures_before_its_first_due_day_has_one_due() -> None:
    dues = plan("equal_principal", start="2026-01-15", end="2026-01-20", due_day=25)
    assert table(dues) == [("2026-01-20", 10_000_000, 5_000)]


def test_r28_quarterly_interest_falls_due_every_third_month() -> None:
    dues = plan("bullet_interest_quarterly", start="2026-03-02", end="2027-03-01")
    assert table(dues) == [
        ("2026-06-02", 0, 92_000),
        ("2026-09-02", 0, 92_000),
        ("2026-12-02", 0, 91_000),
        ("2027-03-01", 10_000_000, 89_000),
    ]


def test_r28_quarterly_interest_on_a_due_day_counts_from_the_third_due_day() -> None:
    dues = plan("bullet_interest_quarterly", start="2026-03-02", end="2027-03-01", due_day=21)
    assert table(dues) == [
        ("2026-05-21", 0, 80_000),
        ("2026-08-21", 0, 92_000),
        ("2026-11-21", 0, 92_000),
        ("2027-02-21", 0, 92_000),
        ("2027-03-01", 10_000_000, 8_000),
    ]


def test_r28_equal_principal_bears_interest_on_what_is_outstanding() -> None:
    """31 days on 1,000,000.00; 28 on 666,666.67 (186,666.67 fen); 31 on 333,333.34 (103,333.34 fen)."""
    assert table(plan("equal_principal", amount_fen=100_000_000)) == [
        ("2026-02-15", 33_333_333, 310_000),
        ("2026-03-15", 33_333_333, 186_667),
        ("2026-04-15", 33_333_334, 103_333),
    ]


def test_r28_equal_principal_is_rounded_half_up_and_the_last_takes_the_remainder() -> None:
    dues = plan("equal_principal", amount_fen=200_000_000)
    assert [due.principal_fen for due in dues] == [66_666_667, 66_666_667, 66_666_666]
    halves = plan("equal_principal", amount_fen=5, end="2026-03-15")
    assert [due.principal_fen for due in halves] == [3, 2]


def test_r28_equal_principal_of_a_few_fen_is_never_negative() -> None:
    dues = plan("equal_principal", amount_fen=3, end="2026-06-15")
    assert [due.principal_fen for due in dues] == [1, 1, 1, 0, 0]


def test_r28_equal_instalments_by_the_annuity_formula() -> None:
    """100,000.00 at 1 % a month: 1,000.00 × 1.030301 ÷ 0.030301 = 34,002.2111."""
    dues = plan("equal_instalment", rate="12")
    assert table(dues) == [
        ("2026-02-15", 3_300_221, 100_000),
        ("2026-03-15", 3_333_223, 66_998),
        ("2026-04-15", 3_366_556, 33_666),
    ]
    assert [due.principal_fen + due.interest_fen for due in dues] == [3_400_221, 3_400_221, 3_400_222]


def test_r28_equal_instalments_of_a_few_fen_are_never_negative() -> None:
    dues = plan("equal_instalment", rate="0", amount_fen=3, end="2026-06-15")
    assert [due.principal_fen for due in dues] == [1, 1, 1, 0, 0]


def test_r28_equal_instalments_of_a_year_at_435() -> None:
    """100,000.00 at 4.35 %, twelve months: 8,530.99 a month, whatever the days of the month."""
    for day_count in (360, 365):
        dues = plan("equal_instalment", rate="4.35", end="2027-01-15", day_count=day_count)
        assert [due.principal_fen + due.interest_fen for due in dues[:-1]] == [853_099] * 11
        assert dues[0].interest_fen == 36_250
        assert abs(dues[-1].principal_fen + dues[-1].interest_fen - 853_099) <= 6


def test_r28_equal_instalments_count_a_broken_period_by_its_days() -> None:
    """Four dues at 1 % a month: 25,628.11. 19 days before the first whole month, 11 after the last."""
    dues = plan("equal_instalment", rate="12", start="2026-03-02", end="2026-06-01", due_day=21)
    assert table(dues) == [
        ("2026-03-21", 2_499_478, 63_333),
        ("2026-04-21", 2_487_806, 75_005),
        ("2026-05-21", 2_512_684, 50_127),
        ("2026-06-01", 2_500_032, 9_167),
    ]


def test_r28_the_month_after_the_end_of_february_is_a_whole_month() -> None:
    dues = plan("equal_instalment", rate="12", start="2026-02-28", end="2026-04-30", due_day=31)
    assert table(dues) == [("2026-03-31", 4_975_124, 100_000), ("2026-04-30", 5_024_876, 50_249)]


@pytest.mark.parametrize(
    ("start", "end", "day_count", "interest_fen"),
    [
        ("2025-03-02", "2026-03-02", 360, 441_042),
        ("2025-03-02", "2026-03-02", 365, 435_000),
        ("2024-01-01", "2025-01-01", 365, 436_192),
        ("2024-02-28", "2024-03-01", 360, 2_417),
        ("2023-02-28", "2023-03-01", 360, 1_208),
    ],
)
def test_r28_everything_due_at_maturity(start: str, end: str, day_count: int, interest_fen: int) -> None:
    """The first day counts, the last does not: 100,000.00 at 4.35 %, over leap years and common ones."""
    dues = plan("bullet_all", rate="4.35", start=start, end=end, day_count=day_count, due_day=21)
    assert table(dues) == [(end, 10_000_000, interest_fen)]


@pytest.mark.parametrize("method", [method for method in METHODS if method != "explicit"])
def test_r28_a_loan_without_interest_has_a_schedule(method: str) -> None:
    dues = plan(method, rate="0", amount_fen=10_000)
    assert set(interests(dues)) == {0}
    if method.startswith("equal"):
        assert [due.principal_fen for due in dues] == [3_333, 3_333, 3_334]
    else:
        assert dues[-1] == Instalment(date(2026, 4, 15), 10_000, 0)


LISTED = (
    Instalment(date(2026, 2, 20), 4_000_000, 36_500),
    Instalment(date(2026, 4, 15), 6_000_000, 31_000),
)


def test_r28_an_explicit_list_is_held_as_the_contract_states_it() -> None:
    assert plan("explicit", explicit=LISTED) == LISTED


@pytest.mark.parametrize(
    ("dues", "said"),
    [
        ([], "adds up to 0.00"),
        (LISTED[:1], "adds up to 40000.00"),
        (LISTED[::-1], "must ascend"),
        ([Instalment(date(2026, 3, 1), 5_000_000, 0)] * 2, "must ascend"),
        ([Instalment(date(2026, 1, 15), 10_000_000, 0)], "must be after 2026-01-15"),
        ([Instalment(date(2026, 4, 16), 10_000_000, 0)], "not after 2026-04-15"),
        ([Instalment(date(2026, 3, 1), -1, 0), Instalment(date(2026, 4, 1), 10_000_001, 0)], "below zero"),
        ([Instalment(date(2026, 4, 1), 10_000_000, -1)], "below zero"),
    ],
)
def test_r28_an_explicit_list_that_cannot_be_the_schedule_is_refused(
    dues: Sequence[Instalment], said: str
) -> None:
    verdict = check_explicit(
        dues, amount_fen=10_000_000, disbursed_on=date(2026, 1, 15), matures_on=date(2026, 4, 15)
    )
    assert not verdict
    assert verdict.rule == "R-28"
    assert said in verdict.reason.en
    with pytest.raises(ImpossibleSchedule) as refused:
        plan("explicit", explicit=dues)
    assert refused.value.verdict == verdict


@pytest.mark.parametrize(
    ("method", "change", "said"),
    [
        ("bullet_all", {"amount_fen": 0}, "amount"),
        ("bullet_all", {"end": "2026-01-15"}, "must be after"),
        ("bullet_all", {"due_day": 0}, "1 to 31"),
        ("bullet_all", {"due_day": 32}, "1 to 31"),
        ("bullet_all", {"day_count": 0}, "days of a year"),
        ("bullet_all", {"explicit": LISTED}, "takes no list"),
        ("explicit", {}, "needs its list"),
        ("balloon", {}, "no repayment method balloon"),
        ("equal_instalment", {"end": "9999-12-31"}, "check the maturity"),
    ],
)
def test_r28_terms_that_make_no_schedule_are_refused_with_a_reason(
    method: str, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ImpossibleSchedule, match=said) as refused:
        plan(method, **change)
    assert refused.value.verdict.rule == "R-28"
    assert refused.value.verdict.reason.zh


DAYS = st.dates(date(2020, 1, 1), date(2036, 12, 31))
LAW = settings(derandomize=True, deadline=None)
RATES = st.integers(0, 240_000).map(lambda units: Decimal(units).scaleb(-4))


class Terms(TypedDict):
    """What `schedule` takes."""

    amount_fen: int
    annual_rate: Decimal
    disbursed_on: date
    matures_on: date
    method: str
    due_day: int | None
    day_count: int


@st.composite
def loans(draw: st.DrawFn, methods: Sequence[str] = METHODS[:-1]) -> Terms:
    """The terms of any loan of up to five years."""
    start = draw(DAYS)
    return {
        "amount_fen": draw(st.integers(1, 10**9) | st.integers(1, 500)),
        "annual_rate": draw(RATES),
        "disbursed_on": start,
        "matures_on": start + timedelta(days=draw(st.integers(1, 1_826))),
        "method": draw(st.sampled_from(methods)),
        "due_day": draw(st.none() | st.integers(1, 31)),
        "day_count": draw(st.sampled_from((360, 365))),
    }


@LAW
@given(loans())
def test_r28_principal_adds_up_to_the_amount_and_the_days_ascend_to_the_maturity(
    terms: Terms,
) -> None:
    dues = schedule(**terms)
    days = [due.due_on for due in dues]
    assert sum(due.principal_fen for due in dues) == terms["amount_fen"]
    assert days == sorted(set(days))
    assert days[-1] == terms["matures_on"]
    assert days[0] > terms["disbursed_on"]
    assert all(due.principal_fen >= 0 and due.interest_fen >= 0 for due in dues)


@LAW
@given(loans(BY_DAYS))
def test_r28_interest_adds_up_to_the_exact_total_rounded_once(terms: Terms) -> None:
    dues = schedule(**terms)
    steps = [(terms["disbursed_on"], terms["amount_fen"])]
    for due in dues:
        steps.append((due.due_on, steps[-1][1] - due.principal_fen))
    assert sum(interests(dues)) == day_by_day(steps, terms, dues[-1].due_on)


def day_by_day(steps: Sequence[tuple[date, int]], terms: Terms, until: date) -> int:
    """Interest up to a day, added up over single days and rounded half up once."""
    held = dict(steps)
    day, outstanding, fen_days = steps[0][0], 0, 0
    while day < until:
        outstanding = held.get(day, outstanding)
        fen_days += outstanding
        day += timedelta(days=1)
    exact = fen_days * Fraction(terms["annual_rate"]) / 100 / terms["day_count"]
    return int(exact + Fraction(1, 2))


@LAW
@given(
    st.integers(1_000_000, 10**9),
    RATES,
    st.dates(date(2020, 1, 1), date(2030, 12, 31)).filter(lambda day: day.day <= 28),
    st.integers(1, 60),
)
def test_r28_equal_instalments_are_equal_but_for_the_fen_of_the_last(
    amount_fen: int, rate: Decimal, start: date, months: int
) -> None:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    dues = schedule(
        amount_fen=amount_fen,
        annual_rate=rate,
        disbursed_on=start,
        matures_on=date(year, month + 1, start.day),
        method="equal_instalment",
        due_day=None,
        day_count=360,
    )
    paid = [due.principal_fen + due.interest_fen for due in dues]
    assert len(paid) == months
    assert len(set(paid[:-1])) <= 1
    assert abs(paid[-1] - paid[0]) <= 4 * months


THREE = (
    DueState(date(2026, 2, 15), 100, 30, 0, 0),
    DueState(date(2026, 3, 15), 100, 20, 0, 0),
    DueState(date(2026, 4, 15), 100, 10, 0, 0),
)


def paid(dues: Sequence[DueState]) -> list[tuple[int, int]]:
    return [(due.principal_paid_fen, due.interest_paid_fen) for due in dues]


def test_r27_each_kind_pays_its_oldest_dues_first() -> None:
    assert paid(allocate(THREE, 150, 35)) == [(100, 30), (50, 5), (0, 0)]
    assert paid(allocate(allocate(THREE, 150, 35), 60, 0)) == [(100, 30), (100, 5), (10, 0)]


def test_r27_a_reversal_undoes_what_was_paid_last() -> None:
    before = allocate(THREE, 250, 55)
    assert paid(before) == [(100, 30), (100, 20), (50, 5)]
    assert paid(allocate(before, -120, -6)) == [(100, 30), (30, 19), (0, 0)]
    assert paid(allocate(before, 50, -55)) == [(100, 0), (100, 0), (100, 0)]


def test_r27_more_than_is_due_says_how_much_fits() -> None:
    with pytest.raises(Overpaid) as refused:
        allocate(allocate(THREE, 150, 35), 151, 25)
    assert (refused.value.principal_fits_fen, refused.value.interest_fits_fen) == (150, 25)
    with pytest.raises(Overpaid) as refused:
        allocate(allocate(THREE, 150, 35), -150, -36)
    assert (refused.value.principal_fits_fen, refused.value.interest_fits_fen) == (-150, -35)


DUES = st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 1_000)), min_size=1, max_size=6).map(
    lambda amounts: tuple(
        DueState(date(2026, 1, 15) + timedelta(days=30 * i), principal, interest, 0, 0)
        for i, (principal, interest) in enumerate(amounts)
    )
)


@LAW
@given(DUES, st.data())
def test_r27_allocation_keeps_every_fen_and_undoing_it_restores_the_dues(
    dues: tuple[DueState, ...], data: st.DataObject
) -> None:
    principal_due = sum(due.principal_fen for due in dues)
    interest_due = sum(due.interest_fen for due in dues)
    principal, interest = data.draw(st.integers(0, principal_due)), data.draw(st.integers(0, interest_due))
    before = allocate(dues, principal, interest)
    more = data.draw(st.integers(0, principal_due - principal))
    after = allocate(before, more, interest_due - interest)
    assert sum(due.principal_paid_fen for due in after) == principal + more
    assert sum(due.interest_paid_fen for due in after) == interest_due
    assert all(0 <= due.principal_paid_fen <= due.principal_fen for due in after)
    assert [due.principal_fen for due in after] == [due.principal_fen for due in dues]
    assert allocate(after, -more, interest - interest_due) == before
    assert allocate(before, -principal, -interest) == dues


def test_r30_an_unpaid_due_is_overdue_from_the_day_after() -> None:
    assert overdue_since(THREE, date(2026, 2, 15)) is None
    assert unpaid_overdue(THREE, date(2026, 2, 15)) == (0, 0)
    assert overdue_since(THREE, date(2026, 2, 16)) == date(2026, 2, 15)
    assert unpaid_overdue(THREE, date(2026, 2, 16)) == (100, 30)


def test_r32_a_part_payment_moves_the_day_only_when_the_oldest_due_is_paid_in_full() -> None:
    today = date(2026, 3, 20)
    assert overdue_since(allocate(THREE, 150, 29), today) == date(2026, 2, 15)
    assert overdue_since(allocate(THREE, 150, 30), today) == date(2026, 3, 15)
    assert unpaid_overdue(allocate(THREE, 150, 29), today) == (50, 21)
    assert overdue_since(allocate(THREE, 200, 50), today) is None


def test_r30_a_due_is_paid_when_both_kinds_are() -> None:
    due = DueState(date(2026, 2, 15), 100, 30, 100, 29)
    assert not due.paid
    assert (due.unpaid_principal_fen, due.unpaid_interest_fen) == (0, 1)
    assert DueState(date(2026, 2, 15), 100, 30, 100, 30).paid
