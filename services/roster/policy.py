"""The roster's rules, pure: values in, a verdict, a day or a period out (R-03 to R-13, R-50)."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from shared.measures import Measures
from shared.rules import Verdict, allow, refuse


def years_after(day: date, years: int) -> date:
    """The same day some years on; from 29 February the month's last day where there is none."""
    year = day.year + years
    return day.replace(year=year, day=min(day.day, calendar.monthrange(year, day.month)[1]))


# ── enterprises ──────────────────────────────────────────────────────────────────────────────────


def may_register(*, qualified: bool, d_class: bool) -> Verdict:
    """Only an enterprise on the list today may register (R-08); says which of R-03, R-04 failed."""
    if not qualified:
        return refuse(
            "R-03",
            "M-二(一)",
            "企业今天没有有效的科创资质，不在支持名单内；已获认定的，请联席会议办公室导入认定文件，未获认定的可以提名",
            "The enterprise holds no qualification that is valid today, so it is not on the support list; "
            "if it is recognised, ask the office to import the document; if not, it can be nominated",
        )
    if d_class:
        return refuse(
            "R-04",
            "M-二(一)",
            "企业处于综合绩效评价 D 类差别化措施执行期，执行期内不在支持名单内",
            "The enterprise is inside a D-class period and off the support list until it ends",
        )
    return allow("R-08", "M-二(二)")


def may_nominate(*, holds_document: bool) -> Verdict:
    """The tenth category is for enterprises without the first nine (R-07)."""
    if holds_document:
        return refuse(
            "R-07",
            "M-二(二)",
            "企业已凭认定文件具备科创资质，自动纳入名单，无需提名",
            "The enterprise holds a qualification by document and is included by itself; no nomination",
        )
    return allow("R-07", "M-二(二)")


def may_be_imported(category: str | None, measures: Measures) -> Verdict:
    """A list is imported for a category that rests on a document (R-02); the other is by vote (R-07)."""
    known = {one.code: one for one in measures.categories}
    if category not in known:
        choices = "、".join(one.code for one in measures.categories if one.by_document)
        return refuse(
            "R-02",
            "M-二(一)",
            f"category 应为以下之一：{choices}",
            f"category must be one of: {choices.replace('、', ', ')}",
        )
    if not known[category].by_document:
        return refuse(
            "R-07",
            "M-二(二)",
            "“其他经联席会议审核同意的企业”由成员单位审核，不能导入",
            "The tenth category is by the conference's vote and cannot be imported",
        )
    return allow("R-02", "M-二(一)")


def may_revoke(*, from_day: date, valid_to: date | None, revoked: bool) -> Verdict:
    """A record is revoked once, from a day on which it would otherwise still hold (R-05)."""
    if revoked:
        return refuse("R-05", "M-二(二)", "该记录此前已撤销", "This record has been revoked before")
    if valid_to is not None and from_day > valid_to:
        return refuse(
            "R-05",
            "M-二(二)",
            f"该记录至 {valid_to} 已届满，晚于此日的撤销没有意义",
            f"The record ends by itself on {valid_to}; a revocation after that changes nothing",
        )
    return allow("R-05", "M-二(二)")


# ── institutions ─────────────────────────────────────────────────────────────────────────────────


def may_apply_for_admission(today: date, *, active: bool, refused_until: date | None) -> Verdict:
    """Not while active (R-10), and after a disqualification not before the years are over (R-12): the
    same day those years on is accepted."""
    if active:
        return refuse("R-10", "M-一", "贵机构已是合作机构", "Already a cooperating institution")
    if refused_until is not None and today < refused_until:
        return refuse(
            "R-12",
            "M-八",
            f"被取消合作资格后的不受理期未满，{refused_until} 起可以申请",
            f"After a disqualification no application is taken before {refused_until}",
        )
    return allow("R-10", "M-一")


def refused_until(cancelled_on: date, measures: Measures) -> date:
    """The first day on which an application is taken again after a disqualification (R-12)."""
    return years_after(cancelled_on, measures.refusal_years)


def may_exit(exit_on: date, earliest: date, announced: date | None = None) -> Verdict:
    """An exit holds from the next business day at the earliest, and one that is announced can only be
    brought forward: others have reckoned with it (R-11)."""
    if exit_on < earliest:
        return refuse(
            "R-11",
            "M-一",
            f"退出日最早为下一工作日 {earliest}",
            f"The earliest exit date is the next business day, {earliest}",
        )
    if announced is not None and exit_on >= announced:
        return refuse(
            "R-11",
            "M-一",
            f"已公布自 {announced} 起退出，只能提前，不能推迟",
            f"An exit on {announced} is announced; it can be brought forward, not put off",
        )
    return allow("R-11", "M-一")


# ── project bars ─────────────────────────────────────────────────────────────────────────────────


class Bar(Protocol):
    """What is known of one claim's bar."""

    @property
    def began_on(self) -> date | None: ...
    @property
    def until(self) -> date | None: ...
    @property
    def lifted_on(self) -> date | None: ...


@dataclass(frozen=True, slots=True)
class Eligibility:
    """May an enterprise apply for projects on a day (R-50)? If not, until when it may not; no end while
    the fund has not paid."""

    eligible: bool
    until: date | None


def bar_until(paid_on: date, measures: Measures) -> date:
    """The first day without the bar: the fund's payment and its years (R-50)."""
    return years_after(paid_on, measures.project_bar_years)


def in_force(bar: Bar, on: date) -> bool:
    """Does this bar hold on a day? A lifted one held until it was lifted (R-49)."""
    if bar.began_on is None or on < bar.began_on:
        return False
    if bar.until is None:
        return bar.lifted_on is None or on < bar.lifted_on
    return on < bar.until


def eligibility(bars: Sequence[Bar], on: date) -> Eligibility:
    """Free when no bar holds on the day; else the last end of those that hold (R-50)."""
    ends = [bar.until for bar in bars if in_force(bar, on)]
    if not ends:
        return Eligibility(True, None)
    known = [end for end in ends if end is not None]
    return Eligibility(False, max(known) if len(known) == len(ends) else None)
