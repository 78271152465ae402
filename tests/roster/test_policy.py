"""The roster's rules as tables, a row per clause."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pytest

from services.roster import policy
from shared.measures import measures_on

MEASURES = measures_on(date(2026, 3, 2))


@pytest.mark.parametrize(
    ("qualified", "d_class", "rule"),
    [(True, False, "R-08"), (False, False, "R-03"), (True, True, "R-04"), (False, True, "R-03")],
)
def test_r08_a_refusal_says_which_of_r03_and_r04_failed(qualified: bool, d_class: bool, rule: str) -> None:
    verdict = policy.may_register(qualified=qualified, d_class=d_class)
    assert (verdict.allowed, verdict.rule) == (rule == "R-08", rule)


@pytest.mark.parametrize(
    ("category", "rule", "allowed"),
    [
        ("national_high_tech", "R-02", True),
        ("conference_approved", "R-07", False),
        ("no_such", "R-02", False),
        (None, "R-02", False),
    ],
)
def test_r02_a_list_is_for_a_category_by_document(category: str | None, rule: str, allowed: bool) -> None:
    verdict = policy.may_be_imported(category, MEASURES)
    assert (verdict.rule, verdict.allowed) == (rule, allowed)


def test_r02_there_are_ten_categories_of_which_nine_rest_on_a_document() -> None:
    assert len(MEASURES.categories) == 10
    assert sum(one.by_document for one in MEASURES.categories) == 9


@pytest.mark.parametrize(
    ("today", "allowed"),
    [(date(2028, 1, 14), False), (date(2028, 1, 15), True), (date(2026, 1, 15), False)],
)
def test_r12_the_same_day_two_years_on_is_accepted(today: date, allowed: bool) -> None:
    until = policy.refused_until(date(2026, 1, 15), MEASURES)
    verdict = policy.may_apply_for_admission(today, active=False, refused_until=until)
    assert (verdict.allowed, verdict.rule) == (allowed, "R-10" if allowed else "R-12")


def test_r12_from_29_february_the_month_s_last_day_is_taken() -> None:
    assert policy.refused_until(date(2028, 2, 29), MEASURES) == date(2030, 2, 28)


def test_r10_an_active_institution_does_not_apply_again() -> None:
    assert policy.may_apply_for_admission(date(2026, 3, 2), active=True, refused_until=None).rule == "R-10"


@pytest.mark.parametrize(("exit_on", "allowed"), [(date(2026, 3, 2), False), (date(2026, 3, 3), True)])
def test_r11_an_exit_holds_from_the_next_business_day(exit_on: date, allowed: bool) -> None:
    assert policy.may_exit(exit_on, date(2026, 3, 3)).allowed is allowed


@pytest.mark.parametrize(("exit_on", "allowed"), [(date(2026, 3, 8), True), (date(2026, 3, 9), False)])
def test_r11_an_exit_that_is_announced_can_only_be_brought_forward(exit_on: date, allowed: bool) -> None:
    verdict = policy.may_exit(exit_on, date(2026, 3, 3), announced=date(2026, 3, 9))
    assert (verdict.allowed, verdict.rule) == (allowed, "R-11")


@dataclass
class Bar:
    began_on: date | None
    until: date | None
    lifted_on: date | None


APPROVED, PAID, FREE = date(2026, 3, 2), date(2026, 4, 1), date(2029, 4, 1)


@pytest.mark.parametrize(
    ("bars", "on", "expected"),
    [
        pytest.param([], APPROVED, (True, None), id="R-50 no bar"),
        pytest.param([Bar(APPROVED, None, None)], date(2026, 3, 1), (True, None), id="R-50 the day before"),
        pytest.param([Bar(APPROVED, None, None)], APPROVED, (False, None), id="R-50 from approval, open"),
        pytest.param([Bar(APPROVED, FREE, None)], date(2029, 3, 31), (False, FREE), id="R-50 its last day"),
        pytest.param([Bar(APPROVED, FREE, None)], FREE, (True, None), id="R-50 three years after payment"),
        pytest.param([Bar(APPROVED, None, PAID)], PAID, (True, None), id="R-50 lifted"),
        pytest.param(
            [Bar(APPROVED, FREE, None), Bar(APPROVED, None, None)], PAID, (False, None), id="R-50 one is open"
        ),
        pytest.param(
            [Bar(APPROVED, FREE, None), Bar(APPROVED, date(2030, 1, 1), None)],
            PAID,
            (False, date(2030, 1, 1)),
            id="R-50 the longest holds",
        ),
    ],
)
def test_r50_a_bar_holds_from_approval_until_years_after_the_payment(
    bars: list[Bar], on: date, expected: tuple[bool, date | None]
) -> None:
    found = policy.eligibility(bars, on)
    assert (found.eligible, found.until) == expected


def test_r50_the_years_are_the_measures_own() -> None:
    assert policy.bar_until(PAID, MEASURES) == FREE
