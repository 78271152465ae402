"""Working days in China (R-33): statutory holidays and make-up working days. Pure.

A year's days come from the office's own upload when there is one, even for a year the library knows
(the State Council may amend a year after the library was made, as it did for Spring Festival 2020; the
upload is the whole year's plan, not an addition to the library's), else from the maintained holiday
library, else from plain Monday to Friday with a warning: every answer that used the fallback says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import chinese_calendar

from shared.rules import Text

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A day found by counting working days; `provisional` lists years counted Monday to Friday."""

    day: date
    provisional: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """A number of working days; `provisional` lists years counted Monday to Friday."""

    days: int
    provisional: tuple[int, ...]


class WorkingDays:
    """`uploaded` maps a year to its exceptions: weekdays off (False), weekend days worked (True)."""

    def __init__(self, uploaded: Mapping[int, Mapping[date, bool]] | None = None) -> None:
        for year, exceptions in (uploaded or {}).items():
            if any(day.year != year for day in exceptions):
                raise ValueError(f"the calendar of {year} names a day of another year")
        self.uploaded = uploaded or {}

    def knows(self, year: int) -> bool:
        """Is the year's plan known, by upload or by the library?"""
        return year in self.uploaded or _library_knows(year)

    def is_working_day(self, day: date) -> bool:
        uploaded = self.uploaded.get(day.year)
        if uploaded is not None:
            return uploaded.get(day, day.weekday() < 5)
        if _library_knows(day.year):
            return bool(chinese_calendar.is_workday(day))
        return day.weekday() < 5

    def nth_after(self, day: date, n: int) -> Deadline:
        """The n-th working day after `day`, itself not counted (R-31)."""
        if n < 0:
            raise ValueError("a deadline lies ahead: n must be zero or more")
        start = day
        while n > 0:
            day += ONE_DAY
            n -= self.is_working_day(day)
        return Deadline(day, self._provisional(start + ONE_DAY, day))

    def next_after(self, day: date) -> Deadline:
        """The next working day after `day` (R-11)."""
        return self.nth_after(day, 1)

    def count_between(self, after: date, until: date) -> Count:
        """How many working days lie in (after, until]; 0 when `until` is not later."""
        if until <= after:
            return Count(0, ())
        days = (after + timedelta(days=i) for i in range(1, (until - after).days + 1))
        number = sum(self.is_working_day(day) for day in days)
        return Count(number, self._provisional(after + ONE_DAY, until))

    def _provisional(self, first: date, last: date) -> tuple[int, ...]:
        return tuple(year for year in range(first.year, last.year + 1) if not self.knows(year))


@cache
def _library_knows(year: int) -> bool:
    try:
        chinese_calendar.is_workday(date(year, 7, 1))
    except NotImplementedError:
        return False
    return True


def calendar_warning(years: Sequence[int]) -> Text:
    """What to say with an answer that rests on a year nobody has uploaded yet (R-33)."""
    named = "、".join(map(str, years))
    return Text(
        f"{named} 年放假安排尚未导入，按周一至周五计算；请联席会议办公室上传该年工作日历",
        f"no holiday plan for {', '.join(map(str, years))} yet: counted Monday to Friday; "
        "the office should upload that year's calendar",
    )
