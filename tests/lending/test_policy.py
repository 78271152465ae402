"""The rules of lending as tables: one row per clause, named by its rule."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from services.lending import policy
from services.lending.policy import Quote
from shared.calendar import WorkingDays
from shared.measures import first_day, measures_on

DAY = date(2026, 3, 2)
MEASURES = measures_on(DAY)
QUOTE = Quote(date(2022, 7, 20), Decimal("3.7000"), Decimal("4.4500"), superseded=False)


@pytest.mark.parametrize(
    ("registered", "listed", "allowed"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_r20_only_a_registered_enterprise_on_the_list_applies(
    registered: bool, listed: bool, allowed: bool
) -> None:
    verdict = policy.may_apply(registered=registered, listed=listed)
    assert (verdict.allowed, verdict.rule) == (allowed, "R-20")


@pytest.mark.parametrize(("approved", "allowed"), [(99, True), (100, True), (101, False)])
def test_r21_never_more_is_approved_than_was_applied_for(approved: int, allowed: bool) -> None:
    verdict = policy.within_application(approved_fen=approved, applied_fen=100)
    assert (verdict.allowed, verdict.rule) == (allowed, "R-21")


def test_r21_an_approval_can_be_filed_on_its_ninetieth_day_and_not_on_the_next() -> None:
    last = policy.lapses_on(DAY, MEASURES)
    assert last == date(2026, 5, 31)
    assert policy.not_lapsed(last, last)
    refused = policy.not_lapsed(last, last + timedelta(days=1))
    assert (refused.allowed, refused.rule) == (False, "R-21")


@pytest.mark.parametrize(
    ("security_type", "capped"),
    [
        ("credit", False),
        ("ip_pledge", False),
        ("pledge", True),
        ("guarantee", True),
        ("mortgage", True),
    ],
)
def test_r22_only_credit_and_ip_pledges_are_priced_by_the_market(security_type: str, capped: bool) -> None:
    assert policy.is_capped(security_type, MEASURES) is capped


@pytest.mark.parametrize(
    ("matures_on", "stated", "tenor"),
    [
        (date(2027, 3, 2), None, "1Y"),
        (date(2027, 3, 2), "5Y", "1Y"),
        (date(2027, 3, 3), None, None),
        (date(2027, 3, 3), "1Y", "1Y"),
        (date(2027, 3, 3), "5Y", "5Y"),
        (date(2031, 3, 2), "1Y", "1Y"),
        (date(2031, 3, 3), "1Y", "5Y"),
    ],
)
def test_r22_the_tenor_follows_the_term_and_between_one_and_five_years_the_bank(
    matures_on: date, stated: str | None, tenor: str | None
) -> None:
    found = policy.tenor_of(DAY, matures_on, stated)
    assert found == tenor
    assert policy.tenor_stated(found).allowed is (tenor is not None)


def test_r22_the_cap_is_ninety_basis_points_above_the_lpr() -> None:
    assert policy.rate_cap(Decimal("3.7000"), MEASURES) == Decimal("4.60")
    assert policy.rate_cap(Decimal("3.6500"), MEASURES) == Decimal("4.55")


@pytest.mark.parametrize(
    ("rate", "reason", "allowed"),
    [
        ("4.6000", None, True),
        ("4.6001", None, False),
        ("4.6001", "", False),
        ("4.6001", "担保链风险", True),
    ],
)
def test_r22_above_the_cap_only_with_a_reason(rate: str, reason: str | None, allowed: bool) -> None:
    verdict = policy.rate_explained(Decimal(rate), Decimal("4.60"), reason)
    assert (verdict.allowed, verdict.rule) == (allowed, "R-22")


@pytest.mark.parametrize(
    ("quote", "day", "known"),
    [
        (None, DAY, False),
        (QUOTE, date(2022, 7, 20), True),
        (QUOTE, date(2022, 8, 24), True),
        (QUOTE, date(2022, 8, 25), False),
        (Quote(date(2022, 7, 20), Decimal(1), Decimal(1), superseded=True), date(2026, 1, 1), True),
    ],
)
def test_r22_a_quote_older_than_a_month_is_not_assumed_to_stand(
    quote: Quote | None, day: date, known: bool
) -> None:
    verdict = policy.quote_known(quote, day)
    assert (verdict.allowed, verdict.rule) == (known, "R-22")


@pytest.mark.parametrize(
    ("disbursed_on", "matures_on", "long_term"),
    [
        (date(2026, 3, 2), date(2027, 3, 2), False),
        (date(2026, 3, 2), date(2027, 3, 3), True),
        (date(2024, 2, 29), date(2025, 2, 28), False),
        (date(2024, 2, 29), date(2025, 3, 1), True),
        (date(2025, 12, 31), date(2026, 12, 31), False),
    ],
)
def test_r23_longer_than_twelve_months_is_recorded(
    disbursed_on: date, matures_on: date, long_term: bool
) -> None:
    assert policy.is_long_term(disbursed_on, matures_on, MEASURES) is long_term


@pytest.mark.parametrize(
    ("committed", "added", "allowed"),
    [(0, 10**9, True), (0, 10**9 + 1, False), (10**9 - 1, 1, True), (10**9, 1, False), (10**9, 0, True)],
)
def test_r24_the_ceiling_is_ten_million_to_the_fen(committed: int, added: int, allowed: bool) -> None:
    verdict = policy.under_ceiling(committed_fen=committed, added_fen=added, measures=MEASURES)
    assert (verdict.allowed, verdict.rule, verdict.article) == (allowed, "R-24", "M-四(二)")


@pytest.mark.parametrize(
    ("day", "allowed"),
    [
        (DAY, True),
        (DAY + timedelta(days=1), False),
        (first_day(), True),
        (first_day() - timedelta(days=1), False),
    ],
)
def test_r25_disbursed_since_the_measures_are_in_force_and_not_in_the_future(
    day: date, allowed: bool
) -> None:
    assert policy.disbursed_in_force(day, DAY).allowed is allowed


@pytest.mark.parametrize(
    ("security_type", "named", "active", "rule"),
    [
        ("guarantee", True, True, None),
        ("guarantee", False, False, "R-25"),
        ("credit", True, True, "R-25"),
        ("credit", False, False, None),
        ("guarantee", True, False, "R-13"),
    ],
)
def test_r25_a_guarantor_for_a_guarantee_and_only_then_and_an_active_one(
    security_type: str, named: bool, active: bool, rule: str | None
) -> None:
    verdict = policy.guarantor_named(security_type=security_type, named=named, active=active, day=DAY)
    assert (verdict.rule if not verdict.allowed else None) == rule


@pytest.mark.parametrize(
    ("stated", "known", "allowed"),
    [(True, False, True), (True, True, False), (False, True, True), (False, False, True)],
)
def test_r25_the_system_contradicts_a_first_loan_only_where_it_knows_an_earlier(
    stated: bool, known: bool, allowed: bool
) -> None:
    assert policy.first_loan_plausible(stated=stated, earlier_known=known).allowed is allowed


@pytest.mark.parametrize(
    ("same", "amount", "overdue", "allowed"),
    [
        (True, 100, False, True),
        (True, 101, False, False),
        (True, 100, True, False),
        (False, 100, False, False),
    ],
)
def test_r26_a_renewal_is_of_the_same_parties_at_most_the_principal_and_not_overdue(
    same: bool, amount: int, overdue: bool, allowed: bool
) -> None:
    verdict = policy.may_renew(same_parties=same, amount_fen=amount, outstanding_fen=100, overdue=overdue)
    assert (verdict.allowed, verdict.rule) == (allowed, "R-26")


@pytest.mark.parametrize(
    ("value_date", "allowed"),
    [
        (date(2026, 2, 1), True),
        (date(2026, 1, 31), False),
        (DAY, True),
        (DAY + timedelta(days=1), False),
    ],
)
def test_r27_the_value_date_lies_between_disbursement_and_today(value_date: date, allowed: bool) -> None:
    assert policy.value_date_possible(value_date, date(2026, 2, 1), DAY).allowed is allowed


@pytest.mark.parametrize(("principal", "allowed"), [(100, True), (101, False), (0, True)])
def test_r27_principal_repaid_never_exceeds_outstanding(principal: int, allowed: bool) -> None:
    assert policy.within_outstanding(principal_fen=principal, outstanding_fen=100).allowed is allowed


@pytest.mark.parametrize(
    ("claim_state", "settles", "allowed"),
    [
        (None, False, True),
        ("approved", False, False),
        ("approved", True, True),
        ("paid", True, False),
        ("paid", False, False),
    ],
)
def test_r60_after_the_approval_of_a_claim_money_is_a_recovery_unless_it_settles_in_full(
    claim_state: str | None, settles: bool, allowed: bool
) -> None:
    verdict = policy.still_a_repayment(claim_state=claim_state, settles=settles)
    assert (verdict.rule if not verdict.allowed else None) == (None if allowed else "R-60")


@pytest.mark.parametrize(
    ("next_due_on", "overdue"),
    [(None, False), (DAY, False), (DAY - timedelta(days=1), True), (DAY + timedelta(days=1), False)],
)
def test_r30_overdue_from_the_day_after_the_due_day(next_due_on: date | None, overdue: bool) -> None:
    assert policy.is_overdue(next_due_on, DAY) is overdue


@pytest.mark.parametrize(
    ("reported_on", "late"),
    [
        (date(2022, 10, 8), 0),
        (date(2022, 10, 12), 0),
        (date(2022, 10, 13), 1),
        (date(2022, 10, 17), 3),
    ],
)
def test_r31_the_fifth_working_day_after_the_due_day_with_holidays_and_make_up_days(
    reported_on: date, late: int
) -> None:
    since = date(2022, 9, 30)
    told = policy.report_lateness(since, reported_on, measures_on(since), WorkingDays())
    assert (told.deadline, told.working_days_late) == (date(2022, 10, 12), late)
    assert told.on_time is (late == 0)
    assert told.provisional == ()


def test_r31_a_report_on_a_day_off_after_the_deadline_is_late_all_the_same() -> None:
    told = policy.report_lateness(date(2026, 3, 6), date(2026, 3, 14), MEASURES, WorkingDays())
    assert (told.deadline, told.on_time, told.working_days_late) == (date(2026, 3, 13), False, 1)


def test_r33_a_year_nobody_knows_is_counted_monday_to_friday_and_named() -> None:
    told = policy.report_lateness(date(2090, 9, 29), date(2090, 10, 6), MEASURES, WorkingDays())
    assert (told.deadline, told.provisional) == (date(2090, 10, 6), (2090,))


@pytest.mark.parametrize(
    ("on_record", "stated", "allowed"),
    [
        (None, None, False),
        (None, DAY, False),
        (DAY, None, True),
        (DAY, DAY, True),
        (DAY, DAY - timedelta(days=1), False),
    ],
)
def test_r30_a_stated_overdue_day_is_the_oldest_unpaid_due_day(
    on_record: date | None, stated: date | None, allowed: bool
) -> None:
    verdict = policy.overdue_as_stated(on_record=on_record, stated=stated, unpaid=[DAY])
    assert (verdict.allowed, verdict.rule) == (allowed, "R-30")
