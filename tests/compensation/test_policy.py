"""The rules of claims and the fund as tables, and what must hold for every amount."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.compensation import policy
from services.compensation.policy import Contract, Loss, Parts, Split, Step
from shared.measures import SECURITY_TYPES, Shares, measures_on
from shared.rules import Verdict

M = measures_on(date(2026, 3, 2))
D = date(2025, 11, 26)
FEN = st.integers(min_value=0, max_value=10**13)


@pytest.mark.parametrize(
    ("due", "first"),
    [
        (date(2022, 9, 30), date(2022, 12, 30)),
        (date(2023, 12, 1), date(2024, 3, 1)),  # over a leap day
        (date(2025, 11, 26), date(2026, 2, 25)),
    ],
)
def test_r40_the_first_possible_day_is_91_days_after_d(due: date, first: date) -> None:
    assert policy.first_claim_day(due, M) == first == due + timedelta(days=91)
    assert not policy.has_waited(due, first - timedelta(days=1), M)
    assert policy.has_waited(due, first, M)


@pytest.mark.parametrize(
    ("verdict", "rule"),
    [
        pytest.param(policy.is_covered("pending"), "R-22", id="R-22 the rate waits for the office"),
        pytest.param(policy.is_covered("refused"), "R-22", id="R-22 the rate was refused"),
        pytest.param(policy.is_overdue(None), "R-30", id="R-32 cured"),
        pytest.param(policy.is_reported(False), "R-31", id="R-31 not reported"),
        pytest.param(policy.has_waited(D, D, M), "R-40", id="R-40 too early"),
        pytest.param(policy.is_unclaimed("C-2026-000001"), "R-40", id="R-40 claimed already"),
        pytest.param(policy.states_new_facts(True, None), "R-49", id="R-49 nothing new"),
        pytest.param(policy.stated_as_computed(Loss(99, 5), Loss(100, 5)), "R-41", id="R-41 less principal"),
        pytest.param(policy.stated_as_computed(Loss(101, 5), Loss(100, 5)), "R-41", id="R-41 more principal"),
        pytest.param(policy.stated_as_computed(Loss(100, 6), Loss(100, 5)), "R-41", id="R-41 more interest"),
        pytest.param(policy.is_a_loss(Loss(0, 0)), "R-41", id="R-41 no loss"),
        pytest.param(policy.fund_suffices(99, 100), "R-44", id="R-44 one fen short"),
    ],
)
def test_a_condition_not_met_is_refused_by_its_rule(verdict: Verdict, rule: str) -> None:
    assert not verdict.allowed
    assert verdict.rule == rule
    assert verdict.article
    assert verdict.reason.zh != verdict.reason.en


@pytest.mark.parametrize(
    "verdict",
    [
        pytest.param(policy.is_covered("covered"), id="R-22 covered"),
        pytest.param(policy.is_overdue(D), id="R-30 overdue"),
        pytest.param(policy.is_reported(True), id="R-31 reported"),
        pytest.param(policy.is_unclaimed(None), id="R-40 not claimed"),
        pytest.param(policy.states_new_facts(False, None), id="R-49 never declined"),
        pytest.param(policy.states_new_facts(True, "法院已裁定"), id="R-49 new facts"),
        pytest.param(policy.stated_as_computed(Loss(100, 5), Loss(100, 5)), id="R-41 as computed"),
        pytest.param(policy.stated_as_computed(Loss(100, 0), Loss(100, 5)), id="R-41 less interest"),
        pytest.param(policy.fund_suffices(100, 100), id="R-44 to the last fen"),
    ],
)
def test_a_condition_met_is_allowed(verdict: Verdict) -> None:
    assert verdict.allowed


# ── R-41 ─────────────────────────────────────────────────────────────────────────────────────────

YEAR = Contract(Decimal("4.5000"), 360, date(2025, 11, 26))
START = date(2024, 12, 1)


@pytest.mark.parametrize(
    ("steps", "until", "accrued"),
    [
        pytest.param([(START, 100_000_000)], date(2025, 11, 26), 4_500_000, id="R-41 the whole term"),
        pytest.param([(START, 100_000_000)], date(2026, 3, 2), 4_500_000, id="R-41 nothing after maturity"),
        pytest.param([(START, 100_000_000)], date(2024, 12, 2), 12_500, id="R-41 the first day counts"),
        pytest.param([(START, 100_000_000)], START, 0, id="R-41 the last day does not"),
        # 36 days on 1,000,000.00, then 324 on 400,000.00
        pytest.param(
            [(START, 100_000_000), (date(2025, 1, 6), 40_000_000)],
            date(2025, 11, 26),
            450_000 + 1_620_000,
            id="R-41 day by day",
        ),
        pytest.param(
            [(START, 100_000_000), (date(2025, 12, 1), 0)], date(2026, 3, 2), 4_500_000, id="R-41 paid late"
        ),
        # 0.01 at 4.5 % for 1 day thrice: one rounding at the end, not three
        pytest.param(
            [(START, 1_333), (date(2024, 12, 2), 1_333), (date(2024, 12, 3), 1_334)],
            date(2024, 12, 4),
            1,  # 0.5 fen
            id="R-41 half up once at the end",
        ),
    ],
)
def test_r41_interest_accrues_on_what_is_outstanding(
    steps: list[tuple[date, int]], until: date, accrued: int
) -> None:
    assert policy.interest_accrued([Step(*step) for step in steps], YEAR, until) == accrued


def test_r41_interest_received_is_taken_off_and_never_below_zero() -> None:
    def of(received: int) -> int:
        steps = [Step(START, 100_000_000)]
        return policy.loss(
            outstanding_fen=100_000_000,
            interest_received_fen=received,
            steps=steps,
            contract=YEAR,
            until=YEAR.matures_on,
        ).interest_fen

    assert [of(0), of(4_499_999), of(4_500_000), of(4_500_001)] == [4_500_000, 1, 0, 0]


@given(
    st.lists(st.tuples(st.integers(1, 400), FEN), min_size=1, max_size=8),
    st.decimals(min_value=0, max_value=24, places=4),
    st.sampled_from(M.day_counts),
    st.integers(0, 500),
)
def test_r41_equals_the_sum_over_single_days(
    falls: list[tuple[int, int]], rate: Decimal, day_count: int, lasts: int
) -> None:
    """R-41 said the slow way: every day alone, with its own principal, one rounding at the end."""
    steps = [Step(START, 10**9)]
    for after, left in falls:
        steps.append(Step(steps[-1].from_day + timedelta(days=after), left))
    end = START + timedelta(days=lasts)
    whole = Fraction(0)
    for n in range(lasts):
        day = START + timedelta(days=n)
        principal = [step.outstanding_fen for step in steps if step.from_day <= day][-1]
        whole += Fraction(principal) * Fraction(rate) / 100 / day_count
    doubled = whole * 2
    expected = (doubled.numerator // doubled.denominator + 1) // 2
    assert policy.interest_accrued(steps, Contract(rate, day_count, date(2099, 1, 1)), end) == expected


#


@pytest.mark.parametrize(
    ("security", "loss", "fund", "guarantor", "institution"),
    [
        pytest.param(
            "guarantee",
            Loss(300_000_001, 4_567_893),
            121_827_157,
            121_827_157,
            60_913_580,
            id="R-42 example 1",
        ),
        pytest.param("guarantee", Loss(1, 1), 0, 0, 2, id="R-42 the rest is the institution's"),
        pytest.param("credit", Loss(100, 0), 60, 0, 40, id="R-42 credit"),
        pytest.param("pledge", Loss(101, 99), 60 + 59, 0, 41 + 40, id="R-42 principal and interest apart"),
        pytest.param("ip_pledge", Loss(5, 0), 3, 0, 2, id="R-42 IP pledge"),
        pytest.param("mortgage", Loss(0, 7), 4, 0, 3, id="R-42 mortgage"),
    ],
)
def test_r42_a_loss_is_shared(security: str, loss: Loss, fund: int, guarantor: int, institution: int) -> None:
    split = policy.split(loss, M.shares_for(security))
    assert (split.fund_fen, split.guarantor_fen, split.institution_fen) == (fund, guarantor, institution)


@given(FEN, FEN, st.sampled_from(SECURITY_TYPES), FEN)
def test_r42_r43_shares_always_add_up_and_the_cut_stays_under_the_room(
    principal: int, interest: int, security: str, room: int
) -> None:
    shares = M.shares_for(security)
    whole = policy.split(Loss(principal, interest), shares)
    cut = policy.cut_to(whole, room)
    for split in (whole, cut):
        assert (
            split.fund_principal_fen + split.guarantor_principal_fen + split.institution_principal_fen
            == principal
        )
        assert (
            split.fund_interest_fen + split.guarantor_interest_fen + split.institution_interest_fen
            == interest
        )
        assert min(getattr(split, name) for name in Split.__slots__) >= 0
    assert 0 <= principal * shares.fund - whole.fund_principal_fen * 100 < 100
    assert cut.fund_fen == min(whole.fund_fen, room)
    assert cut.guarantor_fen == whole.guarantor_fen
    assert cut.fund_principal_fen == whole.fund_principal_fen or cut.fund_interest_fen == 0


@pytest.mark.parametrize(
    ("room", "principal", "interest"),
    [
        pytest.param(650, 600, 50, id="R-43 room for all"),
        pytest.param(649, 600, 49, id="R-43 the cut takes interest first"),
        pytest.param(600, 600, 0, id="R-43 all interest"),
        pytest.param(599, 599, 0, id="R-43 then principal"),
        pytest.param(0, 0, 0, id="R-43 what is left may be nothing"),
    ],
)
def test_r43_the_cut_takes_interest_before_principal(room: int, principal: int, interest: int) -> None:
    cut = policy.cut_to(Split(600, 50, 0, 0, 400, 34), room)
    assert (cut.fund_principal_fen, cut.fund_interest_fen) == (principal, interest)
    assert (cut.institution_principal_fen, cut.institution_interest_fen) == (1000 - principal, 84 - interest)


def test_r43_the_room_of_a_year_is_never_below_zero() -> None:
    cap = M.institution_year_cap_fen
    assert [policy.headroom(n, M) for n in (0, cap - 1, cap, cap + 1)] == [cap, 1, 0, 0]


def test_r47_the_payout_is_due_60_days_after_the_approval() -> None:
    assert policy.payout_due_on(date(2026, 3, 2), M) == date(2026, 5, 1)


#

NOTHING = Parts(0, 0, 0)
FOUR_FOUR_TWO, SIX_FOUR = (M.shares_for(kind) for kind in ("guarantee", "credit"))


@pytest.mark.parametrize(
    ("net", "borne", "cut", "shares", "had", "parts"),
    [
        pytest.param(
            10_000_000, Parts(30_000_000, 0, 70_000_000), 30_000_000, SIX_FOUR, NOTHING,
            Parts(3_000_000, 0, 7_000_000), id="R-60 example 4: in what was borne, for the cap cut it",
        ),
        pytest.param(
            100, Parts(400, 400, 200), 0, FOUR_FOUR_TWO, NOTHING, Parts(40, 40, 20), id="R-60 four four two"
        ),
        pytest.param(1, Parts(400, 400, 200), 0, FOUR_FOUR_TWO, NOTHING, Parts(1, 0, 0), id="R-60 one fen"),
        pytest.param(
            4, Parts(400, 400, 200), 0, FOUR_FOUR_TWO, NOTHING, Parts(2, 1, 1), id="R-60 largest remainder"
        ),
        pytest.param(
            2000, Parts(400, 400, 200), 0, FOUR_FOUR_TWO, NOTHING, Parts(400, 400, 1200),
            id="R-60 no more than borne, the excess stays",
        ),
        pytest.param(
            100, Parts(400, 400, 200), 0, FOUR_FOUR_TWO, Parts(390, 400, 195), Parts(10, 0, 90),
            id="R-60 what was had before counts",
        ),
        pytest.param(
            -100, Parts(60, 0, 40), 0, SIX_FOUR, NOTHING, Parts(-60, 0, -40), id="R-60 costs above gross"
        ),
        pytest.param(
            200, Parts(60, 0, 40), 0, SIX_FOUR, Parts(-60, 0, -40), Parts(120, 0, 80),
            id="R-60 shared costs count as borne",
        ),
        pytest.param(0, Parts(60, 0, 40), 0, SIX_FOUR, NOTHING, NOTHING, id="R-60 costs eat all"),
    ],
)  # fmt: skip
def test_r60_a_recovery_is_shared(
    net: int, borne: Parts, cut: int, shares: Shares, had: Parts, parts: Parts
) -> None:
    weights = policy.recovery_weights(borne, cut, shares)
    assert policy.share_recovery(net, weights, borne, had) == parts


@given(
    st.integers(1, 10**11),
    st.integers(0, 10**11),
    st.sampled_from(SECURITY_TYPES),
    st.integers(0, 10**11),
    st.lists(st.integers(-(10**11), 10**11), max_size=12),
)
def test_r60_recoveries_add_up_and_nobody_gets_back_more_than_it_bore(
    principal: int, interest: int, security: str, room: int, nets: list[int]
) -> None:
    whole = policy.split(Loss(principal, interest), M.shares_for(security))
    split = policy.cut_to(whole, room)
    borne = Parts(split.fund_fen, split.guarantor_fen, split.institution_fen)
    weights = policy.recovery_weights(borne, whole.fund_fen - split.fund_fen, M.shares_for(security))
    had = NOTHING
    for net in nets:
        parts = policy.share_recovery(net, weights, borne, had)
        assert parts.fund_fen + parts.guarantor_fen + parts.institution_fen == net
        had = Parts(
            had.fund_fen + parts.fund_fen,
            had.guarantor_fen + parts.guarantor_fen,
            had.institution_fen + parts.institution_fen,
        )
        assert had.fund_fen <= borne.fund_fen
        assert had.guarantor_fen <= borne.guarantor_fen


def test_r61_the_final_loss_is_what_was_borne_minus_what_came_back() -> None:
    assert policy.final_loss(Parts(60, 0, 40), Parts(10, 0, 50)) == Parts(50, 0, 0)
    assert policy.final_loss(Parts(60, 0, 40), Parts(-6, 0, -4)) == Parts(66, 0, 44)


@pytest.mark.parametrize(
    ("day", "first", "allowed"),
    [
        (date(2026, 3, 2), date(2026, 3, 2), True),
        (date(2026, 3, 1), date(2026, 3, 2), False),
        (date(2026, 3, 3), date(2026, 3, 2), False),
        (date(2020, 1, 1), None, True),
        (date(2026, 3, 3), None, False),
    ],
)
def test_r47_a_stated_day_lies_between_what_made_it_possible_and_today(
    day: date, first: Any, allowed: bool
) -> None:
    verdict = policy.within(day, first, date(2026, 3, 2), "R-47", "M-七(一)")
    assert verdict.allowed is allowed
