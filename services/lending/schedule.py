"""What falls due when, how payments settle it, and since when it is overdue (R-27, R-28, R-30).

Pure: amounts are integer fen, rates Decimal percent per year, days business dates. Interest runs by actual
days, the first counted and the last not (算头不算尾). Every instalment is rounded half up to the fen and
the last takes the remainder: the interest of a loan adds up to its exact total, rounded half up once, the
principal to the amount. No instalment takes more than is left of that sum, so none is ever negative.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Literal, get_args

from shared.money import format_money, interest, round_half_up
from shared.rules import Verdict, allow, refuse

RepaymentMethod = Literal[
    "bullet_interest_monthly",
    "bullet_interest_quarterly",
    "equal_principal",
    "equal_instalment",
    "bullet_all",
    "explicit",
]
"""The repayment methods of R-28."""

METHODS: tuple[RepaymentMethod, ...] = get_args(RepaymentMethod)

MONTHS_BETWEEN = {
    "bullet_interest_monthly": 1,
    "bullet_interest_quarterly": 3,
    "equal_principal": 1,
    "equal_instalment": 1,
}
"""How many months lie between two due days, for the methods with periodic dues."""

ARTICLE = "M-五(一)"
"""Where the measures speak of the agreed term and the interest in it; the methods are the contract's."""

MOST_DUES = 1200
"""A hundred years of months: more is a slip in a date, not a loan."""


@dataclass(frozen=True, slots=True)
class Instalment:
    """What the contract makes due on one day, in fen."""

    due_on: date
    principal_fen: int
    interest_fen: int


@dataclass(frozen=True, slots=True)
class DueState:
    """What is due on one day and how much of it is paid, in fen."""

    due_on: date
    principal_fen: int
    interest_fen: int
    principal_paid_fen: int
    interest_paid_fen: int

    @property
    def unpaid_principal_fen(self) -> int:
        return self.principal_fen - self.principal_paid_fen

    @property
    def unpaid_interest_fen(self) -> int:
        return self.interest_fen - self.interest_paid_fen

    @property
    def paid(self) -> bool:
        """Is nothing of it left to pay?"""
        return self.unpaid_principal_fen <= 0 and self.unpaid_interest_fen <= 0


class ImpossibleSchedule(ValueError):
    """The terms make no schedule; `verdict` names R-28 and says why in both languages."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason.en)
        self.verdict = verdict


class Overpaid(ValueError):
    """More than the dues can take, or more undone than was paid. The members say how much fits, in fen,
    with the sign of what was asked."""

    def __init__(self, principal_fits_fen: int, interest_fits_fen: int) -> None:
        super().__init__(
            f"fits: principal {format_money(principal_fits_fen)}, interest {format_money(interest_fits_fen)}"
        )
        self.principal_fits_fen = principal_fits_fen
        self.interest_fits_fen = interest_fits_fen


def schedule(
    *,
    amount_fen: int,
    annual_rate: Decimal,
    disbursed_on: date,
    matures_on: date,
    method: str,
    due_day: int | None,
    day_count: int,
    explicit: Sequence[Instalment] | None = None,
) -> tuple[Instalment, ...]:
    """The dues of a loan, oldest first (R-28).

    Periodic dues fall on `due_day` (the disbursement's day if None; a shorter month's last day) and on the
    maturity. The first is the first such day after the disbursement; quarterly it is the third, and then
    every third. `explicit` belongs to the method `explicit` alone and is returned as it stands.
    Raises ImpossibleSchedule.
    """
    _uphold(_terms_possible(amount_fen, disbursed_on, matures_on, due_day, day_count))
    _uphold(_list_where_it_belongs(method, explicit))
    if explicit is not None:
        checked = check_explicit(
            explicit, amount_fen=amount_fen, disbursed_on=disbursed_on, matures_on=matures_on
        )
        _uphold(checked)
        return tuple(explicit)
    day = due_day or disbursed_on.day
    dues = _due_dates(disbursed_on, matures_on, day, MONTHS_BETWEEN.get(method))
    if method == "equal_instalment":
        return _level_instalments(amount_fen, annual_rate, [disbursed_on, *dues], day, day_count)
    if method == "equal_principal":
        principals = _equal_parts(amount_fen, len(dues))
    else:
        principals = [0] * (len(dues) - 1) + [amount_fen]
    return _counted_by_days(principals, annual_rate, [disbursed_on, *dues], day_count)


def check_explicit(
    dues: Sequence[Instalment], *, amount_fen: int, disbursed_on: date, matures_on: date
) -> Verdict:
    """R-28: may this list be the schedule? Days ascend, each after the disbursement and not after the
    maturity; nothing is negative; the principal adds up to the amount."""
    for due in dues:
        if not disbursed_on < due.due_on <= matures_on:
            return refuse(
                "R-28",
                ARTICLE,
                f"到期日 {due.due_on} 应晚于放款日 {disbursed_on} 且不晚于到期日 {matures_on}",
                f"The due day {due.due_on} must be after {disbursed_on} and not after {matures_on}",
            )
        if due.principal_fen < 0 or due.interest_fen < 0:
            return refuse(
                "R-28", ARTICLE, f"{due.due_on} 的金额为负", f"An amount due on {due.due_on} is below zero"
            )
    for before, due in pairwise(dues):
        if before.due_on >= due.due_on:
            return refuse(
                "R-28",
                ARTICLE,
                f"到期日应逐日递增、不得重复：{before.due_on} 之后为 {due.due_on}",
                f"Due days must ascend, each once: {due.due_on} stands after {before.due_on}",
            )
    planned = sum(due.principal_fen for due in dues)
    if planned != amount_fen:
        return refuse(
            "R-28",
            ARTICLE,
            f"各期本金合计 {format_money(planned)}，应等于贷款金额 {format_money(amount_fen)}",
            f"The principal adds up to {format_money(planned)}; the amount is {format_money(amount_fen)}",
        )
    return allow("R-28", ARTICLE)


def allocate(dues: Sequence[DueState], principal_fen: int, interest_fen: int) -> tuple[DueState, ...]:
    """The dues (oldest first) after a payment: each kind pays its oldest dues first (R-27). A negative
    amount undoes, the newest paid first. Raises Overpaid if more is paid than is due, or undone than paid.
    """
    principal_fits = _fits(principal_fen, [(due.principal_fen, due.principal_paid_fen) for due in dues])
    interest_fits = _fits(interest_fen, [(due.interest_fen, due.interest_paid_fen) for due in dues])
    if (principal_fits, interest_fits) != (principal_fen, interest_fen):
        raise Overpaid(principal_fits, interest_fits)
    principal = _paid(principal_fen, [(due.principal_fen, due.principal_paid_fen) for due in dues])
    paid_interest = _paid(interest_fen, [(due.interest_fen, due.interest_paid_fen) for due in dues])
    return tuple(
        replace(due, principal_paid_fen=of_principal, interest_paid_fen=of_interest)
        for due, of_principal, of_interest in zip(dues, principal, paid_interest, strict=True)
    )


def overdue_since(dues: Sequence[DueState], today: date) -> date | None:
    """D of R-30: the oldest due day before today with anything unpaid; overdue day 1 is the day after D."""
    return min((due.due_on for due in dues if due.due_on < today and not due.paid), default=None)


def unpaid_overdue(dues: Sequence[DueState], today: date) -> tuple[int, int]:
    """Principal and interest due before today and unpaid, in fen (R-30, R-31)."""
    late = [due for due in dues if due.due_on < today]
    return sum(due.unpaid_principal_fen for due in late), sum(due.unpaid_interest_fen for due in late)


def _uphold(verdict: Verdict) -> None:
    if not verdict:
        raise ImpossibleSchedule(verdict)


def _terms_possible(
    amount_fen: int, disbursed_on: date, matures_on: date, due_day: int | None, day_count: int
) -> Verdict:
    if amount_fen <= 0:
        return refuse("R-28", ARTICLE, "贷款金额应大于零", "The amount must be above zero")
    if matures_on <= disbursed_on:
        return refuse(
            "R-28",
            ARTICLE,
            f"到期日 {matures_on} 应晚于放款日 {disbursed_on}",
            f"The maturity {matures_on} must be after the disbursement on {disbursed_on}",
        )
    if due_day is not None and not 1 <= due_day <= 31:
        return refuse("R-28", ARTICLE, "还款日应为 1 至 31", "The due day must be from 1 to 31")
    if day_count <= 0:
        return refuse("R-28", ARTICLE, "计息天数应大于零", "The days of a year must be above zero")
    return allow("R-28", ARTICLE)


def _list_where_it_belongs(method: str, explicit: Sequence[Instalment] | None) -> Verdict:
    if method not in METHODS:
        return refuse("R-28", ARTICLE, f"没有还款方式 {method}", f"There is no repayment method {method}")
    if method == "explicit" and explicit is None:
        return refuse(
            "R-28",
            ARTICLE,
            "还款方式为 explicit 时须列明各期到期日和金额",
            "The method explicit needs its list of due days and amounts",
        )
    if method != "explicit" and explicit is not None:
        return refuse(
            "R-28",
            ARTICLE,
            f"还款方式 {method} 不带还款明细；如需自列，请用 explicit",
            f"The method {method} takes no list of dues; to state one, use the method explicit",
        )
    return allow("R-28", ARTICLE)


def _due_dates(disbursed_on: date, matures_on: date, due_day: int, every: int | None) -> list[date]:
    """The periodic due days before the maturity, and the maturity. `every`: months, None for none."""
    days: list[date] = []
    if every is not None:
        month = disbursed_on.year * 12 + disbursed_on.month - 1
        first = month if _due_day_of(month, due_day) > disbursed_on else month + 1
        last = matures_on.year * 12 + matures_on.month - 1
        months = range(first + every - 1, last + 1, every)
        if len(months) >= MOST_DUES:
            _uphold(
                refuse(
                    "R-28",
                    ARTICLE,
                    f"期数超过 {MOST_DUES}，请核对到期日 {matures_on}",
                    f"More than {MOST_DUES} dues: check the maturity {matures_on}",
                )
            )
        days = [day for month in months if (day := _due_day_of(month, due_day)) < matures_on]
    return [*days, matures_on]


def _due_day_of(month: int, due_day: int) -> date:
    """The due day in a month counted from year 0; a shorter month's last day."""
    year, index = divmod(month, 12)
    return date(year, index + 1, min(due_day, monthrange(year, index + 1)[1]))


def _counted_by_days(
    principals: Sequence[int], annual_rate: Decimal, days: Sequence[date], day_count: int
) -> tuple[Instalment, ...]:
    """Instalments that bear the interest of actual days; `days` begins with the disbursement."""
    outstanding = accumulate(principals[:-1], int.__sub__, initial=sum(principals))
    fen_days = [
        principal * (end - start).days
        for principal, (start, end) in zip(outstanding, pairwise(days), strict=True)
    ]
    parts = _interest_parts(fen_days, annual_rate, day_count)
    return tuple(map(Instalment, days[1:], principals, parts))


def _level_instalments(
    amount_fen: int, annual_rate: Decimal, days: Sequence[date], due_day: int, day_count: int
) -> tuple[Instalment, ...]:
    """Equal instalments by the annuity formula; `days` begins with the disbursement.

    A month bears the annual rate ÷ 12 of what is outstanding. A first or last period that is no whole
    month bears its actual days, 30 at the most: a month's interest would charge for days the loan did not
    run.
    """
    numerator, denominator = annual_rate.as_integer_ratio()
    whole = 1200 * denominator
    level = _annuity(amount_fen, numerator, whole, len(days) - 1)
    dues, left = [], amount_fen
    for start, end in pairwise(days):
        if _falls_on(start, due_day) and _falls_on(end, due_day):
            owed = round_half_up(left * numerator, whole)
        else:
            owed = round_half_up(interest(left, annual_rate, (end - start).days, day_count))
        principal = left if end == days[-1] else min(left, level - owed)
        dues.append(Instalment(end, principal, owed))
        left -= principal
    return tuple(dues)


def _annuity(amount_fen: int, numerator: int, denominator: int, dues: int) -> int:
    """The level instalment in fen at the rate numerator/denominator a month, exact and rounded once."""
    if numerator == 0:
        return round_half_up(amount_fen, dues)
    growth = (denominator + numerator) ** dues
    return round_half_up(amount_fen * numerator * growth, denominator * (growth - denominator**dues))


def _falls_on(day: date, due_day: int) -> bool:
    return day == _due_day_of(day.year * 12 + day.month - 1, due_day)


def _equal_parts(amount_fen: int, count: int) -> list[int]:
    """Parts rounded half up, none above what is left; the last takes the remainder."""
    part, left, parts = round_half_up(amount_fen, count), amount_fen, []
    for _ in range(count - 1):
        parts.append(min(part, left))
        left -= parts[-1]
    return [*parts, left]


def _interest_parts(fen_days: Sequence[int], annual_rate: Decimal, day_count: int) -> list[int]:
    """The interest of each period from its fen × days."""
    left = round_half_up(interest(sum(fen_days), annual_rate, 1, day_count))
    parts: list[int] = []
    for weight in fen_days[:-1]:
        parts.append(min(left, round_half_up(interest(weight, annual_rate, 1, day_count))))
        left -= parts[-1]
    return [*parts, left]


def _fits(amount_fen: int, kinds: Sequence[tuple[int, int]]) -> int:
    """How much of an amount the dues `(due, paid)` can take, or give back where it is negative."""
    if amount_fen < 0:
        return max(amount_fen, -sum(paid for _, paid in kinds))
    return min(amount_fen, sum(due - paid for due, paid in kinds))


def _paid(amount_fen: int, kinds: Sequence[tuple[int, int]]) -> list[int]:
    """What is paid of each due after `amount_fen`: oldest first, or undone from the newest."""
    paid, left = [part for _, part in kinds], amount_fen
    order = range(len(kinds)) if left > 0 else range(len(kinds) - 1, -1, -1)
    for index in order:
        due, before = kinds[index]
        change = min(left, due - before) if left > 0 else max(left, -before)
        paid[index] += change
        left -= change
    return paid
