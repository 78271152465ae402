"""Working days (R-33), and the deadlines counted in them (R-11, R-31)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.calendar import Count, Deadline, WorkingDays, calendar_warning

LIBRARY = WorkingDays()
KNOWN_DAYS = st.dates(date(2004, 1, 1), date(2026, 11, 30))
ANY_DAYS = st.dates(date(2003, 1, 1), date(2032, 12, 31))
SOME_UPLOADS = WorkingDays({2027: {date(2027, 1, 1): False, date(2027, 1, 2): True}, 2025: {}})
CALENDARS = st.sampled_from([LIBRARY, SOME_UPLOADS])


def test_r31_worked_example_three_the_fifth_working_day_after_national_day() -> None:
    due = date(2022, 9, 30)
    assert LIBRARY.nth_after(due, 5) == Deadline(date(2022, 10, 12), ())
    counted = [day for day in range(1, 13) if LIBRARY.is_working_day(date(2022, 10, day))]
    assert counted == [8, 9, 10, 11, 12]


def test_r31_the_due_day_itself_is_not_counted() -> None:
    assert LIBRARY.nth_after(date(2022, 8, 10), 1).day == date(2022, 8, 11)
    assert LIBRARY.nth_after(date(2022, 8, 12), 5).day == date(2022, 8, 19)


def test_r31_days_late_are_working_days_after_the_deadline() -> None:
    deadline = date(2022, 10, 12)
    assert LIBRARY.count_between(deadline, deadline) == Count(0, ())
    assert LIBRARY.count_between(deadline, date(2022, 10, 11)) == Count(0, ())
    assert LIBRARY.count_between(deadline, date(2022, 10, 17)) == Count(3, ())
    assert LIBRARY.count_between(date(2022, 9, 30), deadline) == Count(5, ())


def test_r11_the_next_working_day_passes_over_weekends_and_holidays() -> None:
    assert LIBRARY.next_after(date(2022, 9, 30)) == Deadline(date(2022, 10, 8), ())
    assert LIBRARY.next_after(date(2026, 2, 13)) == Deadline(date(2026, 2, 14), ())
    assert LIBRARY.next_after(date(2026, 2, 14)) == Deadline(date(2026, 2, 24), ())


@pytest.mark.parametrize(
    ("day", "works"),
    [
        (date(2026, 1, 1), False),
        (date(2026, 1, 4), True),
        (date(2026, 10, 7), False),
        (date(2026, 10, 10), True),
        (date(2026, 10, 11), False),
        (date(2004, 1, 2), True),
    ],
)
def test_r33_holidays_and_make_up_days_come_from_the_library(day: date, works: bool) -> None:
    assert LIBRARY.is_working_day(day) is works
    assert LIBRARY.knows(day.year)


def test_r33_an_unknown_year_is_monday_to_friday_and_says_so() -> None:
    assert not LIBRARY.knows(2027)
    assert LIBRARY.is_working_day(date(2027, 1, 1))
    assert LIBRARY.nth_after(date(2026, 12, 30), 5) == Deadline(date(2027, 1, 6), (2027,))
    assert LIBRARY.count_between(date(2026, 12, 30), date(2028, 1, 3)) == Count(263, (2027, 2028))


def test_r33_a_count_inside_a_known_year_carries_no_warning() -> None:
    assert LIBRARY.nth_after(date(2026, 12, 24), 5) == Deadline(date(2026, 12, 31), ())
    assert LIBRARY.count_between(date(2003, 12, 31), date(2004, 1, 31)).provisional == ()
    assert LIBRARY.count_between(date(2003, 12, 30), date(2004, 1, 31)).provisional == (2003,)


def test_r33_the_offices_upload_makes_an_unknown_year_known() -> None:
    uploaded = WorkingDays({2027: {date(2027, 1, 1): False, date(2027, 1, 2): True}})
    assert uploaded.nth_after(date(2026, 12, 31), 1) == Deadline(date(2027, 1, 2), ())
    assert not uploaded.is_working_day(date(2027, 1, 1))
    assert not uploaded.is_working_day(date(2027, 1, 3))
    assert uploaded.is_working_day(date(2027, 1, 4))


def test_r33_the_offices_upload_wins_over_the_library_for_the_whole_year() -> None:
    amended = WorkingDays({2026: {date(2026, 6, 1): False}})
    assert LIBRARY.is_working_day(date(2026, 6, 1))
    assert not amended.is_working_day(date(2026, 6, 1))
    assert amended.is_working_day(date(2026, 10, 1)), "the upload is the whole plan of its year"
    assert not amended.is_working_day(date(2025, 10, 1)), "other years stay the library's"


def test_r33_an_upload_may_not_name_another_years_days() -> None:
    with pytest.raises(ValueError, match="2027 names a day of another year"):
        WorkingDays({2027: {date(2028, 1, 3): False}})


def test_r33_the_warning_names_the_years_in_both_languages() -> None:
    warning = calendar_warning((2027, 2028))
    assert warning.zh.startswith("2027、2028 年")
    assert "2027, 2028" in warning.en


def test_a_deadline_never_lies_behind() -> None:
    assert LIBRARY.nth_after(date(2022, 10, 1), 0) == Deadline(date(2022, 10, 1), ())
    with pytest.raises(ValueError, match="lies ahead"):
        LIBRARY.nth_after(date(2022, 10, 1), -1)


@given(CALENDARS, ANY_DAYS, st.integers(1, 40))
def test_the_nth_working_day_is_the_day_on_which_n_have_been_counted(
    calendar: WorkingDays, day: date, n: int
) -> None:
    deadline = calendar.nth_after(day, n)
    assert calendar.is_working_day(deadline.day)
    assert calendar.count_between(day, deadline.day) == Count(n, deadline.provisional)
    assert calendar.count_between(day, deadline.day - timedelta(days=1)).days == n - 1


@given(CALENDARS, ANY_DAYS, st.integers(0, 60), st.integers(0, 60))
def test_counts_add_up_over_adjoining_spans(
    calendar: WorkingDays, day: date, first: int, second: int
) -> None:
    between = day + timedelta(days=first)
    end = between + timedelta(days=second)
    parts = calendar.count_between(day, between).days + calendar.count_between(between, end).days
    assert parts == calendar.count_between(day, end).days


@given(KNOWN_DAYS, st.integers(1, 10))
def test_known_years_are_never_provisional(day: date, n: int) -> None:
    assert LIBRARY.nth_after(day, n).provisional == ()
