"""How a loan stands after what came back: hand-computed figures, and what holds for any history."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lending.schedule import METHODS, Instalment, schedule
from services.lending.standing import Contract, outstanding_steps, standing

START, END = date(2026, 1, 5), date(2026, 12, 31)


def contract(method: str, amount_fen: int = 100_000_000) -> tuple[Contract, tuple[Instalment, ...]]:
    rate = Decimal("3.6000")
    plan = schedule(
        amount_fen=amount_fen,
        annual_rate=rate,
        disbursed_on=START,
        matures_on=END,
        method=method,
        due_day=5,
        day_count=360,
    )
    return Contract(amount_fen, rate, 360, START, method), plan


def test_r28_without_early_principal_the_dues_are_the_filed_ones() -> None:
    loan, plan = contract("bullet_interest_monthly")
    dues = standing(loan, plan, {}, 0)
    assert [(d.due_on, d.principal_fen, d.interest_fen) for d in dues] == [
        (p.due_on, p.principal_fen, p.interest_fen) for p in plan
    ]


def test_r27_early_principal_lowers_the_interest_of_the_days_it_is_no_longer_out() -> None:
    # 1,000,000.00 at 3.60 %: 100.00 a day. From 5 February on; 400,000.00 back on 15 February leaves 60.00.
    loan, plan = contract("bullet_interest_monthly")
    dues = standing(loan, plan, {date(2026, 2, 15): 40_000_000}, 0)
    assert [due.interest_fen for due in dues[:3]] == [
        31 * 10_000,
        10 * 10_000 + 18 * 6_000,
        31 * 6_000,
    ]
    assert (dues[-1].principal_fen, dues[-1].principal_paid_fen) == (100_000_000, 40_000_000)


def test_r27_after_full_repayment_only_the_interest_run_up_so_far_is_due() -> None:
    loan, plan = contract("bullet_interest_monthly")
    dues = standing(loan, plan, {date(2026, 2, 15): 100_000_000}, 31 * 10_000 + 10 * 10_000)
    assert [due.interest_fen for due in dues[:3]] == [310_000, 100_000, 0]
    assert all(due.paid for due in dues)


def test_r27_late_principal_raises_no_due() -> None:
    loan, plan = contract("equal_principal")
    unpaid = standing(loan, plan, {}, 0)
    assert [due.interest_fen for due in unpaid] == [part.interest_fen for part in plan]


def test_r27_an_annuitys_interest_falls_with_principal_and_days() -> None:
    loan, plan = contract("equal_instalment")
    half = {START: 50_000_000}
    dues = standing(loan, plan, half, 0)
    assert dues[0].interest_fen == pytest.approx(plan[0].interest_fen / 2, abs=1)


def test_r41_steps_are_by_value_date_whatever_the_order_of_posting() -> None:
    repaid = {date(2026, 3, 1): 30, date(2026, 2, 1): 20, date(2026, 4, 1): 0}
    assert outstanding_steps(100, START, repaid) == [
        (START, 100),
        (date(2026, 2, 1), 80),
        (date(2026, 3, 1), 50),
    ]


def test_r41_principal_back_on_the_disbursement_day_is_one_step() -> None:
    assert outstanding_steps(100, START, {START: 40}) == [(START, 60)]


@given(
    method=st.sampled_from([name for name in METHODS if name != "explicit"]),
    amount=st.integers(10_000, 10**9),
    parts=st.lists(st.tuples(st.integers(0, 360), st.integers(0, 100)), max_size=6),
    received=st.integers(0, 10**9),
)
def test_r27_whatever_comes_back_no_due_is_overpaid_and_none_rises(
    method: str, amount: int, parts: list[tuple[int, int]], received: int
) -> None:
    loan, plan = contract(method, amount)
    repaid: dict[date, int] = {}
    left = amount
    for days, percent in parts:
        back = left * percent // 100
        day = START + timedelta(days=days)
        repaid[day] = repaid.get(day, 0) + back
        left -= back
    dues = standing(loan, plan, repaid, received)
    assert sum(due.principal_paid_fen for due in dues) == amount - left
    interest = sum(due.interest_fen for due in dues)
    assert sum(due.interest_paid_fen for due in dues) == min(received, interest)
    for due, filed in zip(dues, plan, strict=True):
        assert 0 <= due.interest_paid_fen <= due.interest_fen <= filed.interest_fen
        assert 0 <= due.principal_paid_fen <= due.principal_fen == filed.principal_fen
    paid_until = [due.unpaid_principal_fen == 0 for due in dues if due.principal_fen]
    assert paid_until == sorted(paid_until, reverse=True)
