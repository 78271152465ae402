"""The rules of lending, pure: values in, a verdict or a figure out (R-20 to R-27, R-30 to R-32).

Every figure comes from `shared.measures`; amounts are fen, rates percent per year.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from shared.calendar import WorkingDays
from shared.measures import Measures, first_day
from shared.money import format_money, format_rate
from shared.rules import Verdict, allow, refuse

BASIS_POINT = Decimal("0.01")
SHORT_TENOR, LONG_TENOR = "1Y", "5Y"
SHORT_TENOR_MONTHS, LONG_TENOR_MONTHS = 12, 60
"""The two tenors for which the LPR is published: one year, and above five years."""
QUOTE_LASTS_DAYS = 35
"""A quote is followed by the next within a month, moved by holidays: older than this, one is missing."""


def months_after(day: date, months: int) -> date:
    """The same day so many months on; in a shorter month its last day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


# ──: application and review ───────────────────────────────────────────────────────────


def may_apply(*, registered: bool, listed: bool) -> Verdict:
    """R-20: only a registered enterprise that is on the list that day."""
    if not registered:
        return refuse(
            "R-20", "M-六", "企业尚未注册，请先注册", "The enterprise is not registered: register first"
        )
    if not listed:
        return refuse(
            "R-20",
            "M-二(一)",
            "企业今天不在科创贷款支持对象名单内，不能申请；名单随认定文件和D类执行期调整，有误请联系办公室",
            "The enterprise is not on the support list today and cannot apply; the list follows documents "
            "and D-class periods on record: where they are wrong, ask the office",
        )
    return allow("R-20", "M-六")


def institution_active(active: bool, day: date) -> Verdict:
    """R-11: no new applications, approvals or filings outside an institution's active days."""
    if active:
        return allow("R-11", "M-八")
    return refuse(
        "R-11",
        "M-八",
        f"该机构 {day} 不是科创金融合作机构，合作期内才能受理申请、审批和备案；可向其他合作机构申请",
        f"The institution is not a cooperating one on {day}: applications, approvals and filings are for its "
        "days of cooperation; apply to another",
    )


def within_application(*, approved_fen: int, applied_fen: int) -> Verdict:
    """R-21: never more than was applied for."""
    if approved_fen <= applied_fen:
        return allow("R-21", "M-六")
    applied = format_money(applied_fen)
    return refuse(
        "R-21",
        "M-六",
        f"审批金额不得超过申请金额 {applied}",
        f"Approve at most what was applied for: {applied}",
    )


def lapses_on(approved_on: date, measures: Measures) -> date:
    """R-21: the last day on which an approval can be filed."""
    return approved_on + timedelta(days=measures.approval_lapse_days)


def not_lapsed(last_day: date, today: date) -> Verdict:
    """R-21: an approval not filed in time lapses."""
    if today <= last_day:
        return allow("R-21", "M-六")
    return refuse(
        "R-21",
        "M-六",
        f"审批已于 {last_day} 之后失效，请重新申请",
        f"The approval lapsed after {last_day}: apply anew",
    )


# ── R-22: rate cap ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Quote:
    """The LPR latest published on or before a day; `superseded`: a later one is known too."""

    published_on: date
    one_year: Decimal
    five_year: Decimal
    superseded: bool

    def of(self, tenor: str) -> Decimal:
        return self.one_year if tenor == SHORT_TENOR else self.five_year


def is_capped(security_type: str, measures: Measures) -> bool:
    """R-22: credit and IP pledges are priced by the market, everything else stands under the cap."""
    return security_type not in measures.market_priced


def tenor_of(disbursed_on: date, matures_on: date, stated: str | None) -> str | None:
    """R-22: one year or less is priced on the 1-year figure, above five on the 5-year one; between
    them on the one the bank states (None: it has to)."""
    if matures_on <= months_after(disbursed_on, SHORT_TENOR_MONTHS):
        return SHORT_TENOR
    if matures_on > months_after(disbursed_on, LONG_TENOR_MONTHS):
        return LONG_TENOR
    return stated


def tenor_stated(tenor: str | None) -> Verdict:
    """R-22: between one and five years the bank says which figure it priced on."""
    if tenor is not None:
        return allow("R-22", "M-三(二)")
    return refuse(
        "R-22",
        "M-三(二)",
        "期限在1年以上至5年的贷款须在 reference_tenor 写明按 1Y 还是 5Y LPR 定价",
        "Between one and five years, state in reference_tenor which LPR it was priced on: 1Y or 5Y",
    )


def quote_known(quote: Quote | None, day: date) -> Verdict:
    """R-22: the figure of the day has to be known, never assumed from an old one."""
    if quote and (quote.superseded or day <= quote.published_on + timedelta(days=QUOTE_LASTS_DAYS)):
        return allow("R-22", "M-三(二)")
    last = quote.published_on if quote else None
    return refuse(
        "R-22",
        "M-三(二)",
        f"尚无 {day} 适用的LPR（最近一次公布：{last or '无'}），请联系联席会议办公室录入最新一期",
        f"No LPR on record for {day} (last published: {last or 'none'}): ask the office to enter the newest",
    )


def rate_cap(lpr: Decimal, measures: Measures) -> Decimal:
    """R-22: the highest ordinary rate, percent per year."""
    return lpr + measures.rate_cap_bp * BASIS_POINT


def rate_explained(rate: Decimal, cap: Decimal, reason: str | None) -> Verdict:
    """R-22: above the cap only with a stated reason, for the office to decide on."""
    if rate <= cap or reason:
        return allow("R-22", "M-三(二)")
    shown, most = format_rate(rate), format_rate(cap)
    return refuse(
        "R-22",
        "M-三(二)",
        f"年利率 {shown}% 超过上限 {most}%；确有特殊原因的，请填写 rate_reason 报办公室确认",
        f"The rate of {shown}% is above the cap of {most}%; with a rate_reason the office can decide on it",
    )


#


def is_long_term(disbursed_on: date, matures_on: date, measures: Measures) -> bool:
    """R-23: longer than the ordinary term, hence recorded with the office."""
    return matures_on > months_after(disbursed_on, measures.ordinary_term_months)


def under_ceiling(*, committed_fen: int, added_fen: int, measures: Measures) -> Verdict:
    """R-24: outstanding plus approved-but-unfiled never exceeds the ceiling."""
    ceiling = measures.enterprise_ceiling_fen
    if committed_fen + added_fen <= ceiling:
        return allow("R-24", "M-四(二)")
    room, most = format_money(max(0, ceiling - committed_fen)), format_money(ceiling)
    return refuse(
        "R-24",
        "M-四(二)",
        f"单个企业科创贷款余额与已批未备案金额合计不得超过 {most}，目前还可批 {room}",
        f"All loans and unfiled approvals of one enterprise are at most {most}; there is room for {room}",
    )


# ── R-25: filing ─────────────────────────────────────────────────────────────────────────────────


def disbursed_in_force(disbursed_on: date, today: date) -> Verdict:
    """R-25: disbursed, not to be; and not before the measures came into force."""
    if disbursed_on > today:
        return refuse(
            "R-25",
            "M-六",
            "放款日期不能晚于今天：请在放款后备案",
            "The disbursement cannot lie in the future: file after it",
        )
    if disbursed_on < first_day():
        return refuse(
            "R-25",
            "M-九",
            f"放款日期早于办法施行日 {first_day()}",
            f"Disbursed before the measures came into force on {first_day()}",
        )
    return allow("R-25", "M-六")


def listed_on(listed: bool, day: date) -> Verdict:
    """R-25: on the support list on the disbursement date."""
    if listed:
        return allow("R-25", "M-二(一)")
    return refuse(
        "R-25",
        "M-二(一)",
        f"企业在放款日 {day} 不在科创贷款支持对象名单内；名单有误的，请办公室更正后再备案",
        f"The enterprise is not on the support list on {day}, the disbursement date; "
        "where the list is wrong, file after the office has mended it",
    )


def within_approval(*, amount_fen: int, unfiled_fen: int) -> Verdict:
    """R-25: at most what is left of the approval."""
    if amount_fen <= unfiled_fen:
        return allow("R-25", "M-六")
    rest = format_money(unfiled_fen)
    return refuse(
        "R-25",
        "M-六",
        f"金额超过审批余额 {rest}；超出部分须另行申请、审批",
        f"More than is left of the approval: {rest}; what is beyond needs an approval of its own",
    )


def guarantor_named(*, security_type: str, named: bool, active: bool, day: date) -> Verdict:
    """R-25, R-13: a guarantor when the security is a guarantee, and only then; an active one."""
    if (security_type == "guarantee") != named:
        return refuse(
            "R-25",
            "M-六",
            "保证贷款须填写担保机构 guarantor_id，其他贷款不得填写",
            "Name guarantor_id for a guarantee loan, and only then",
        )
    if named and not active:
        return refuse(
            "R-13",
            "M-五(二)",
            f"所填担保机构 {day} 未登记或已退出：请核对 guarantor_id，或请办公室登记",
            f"The guarantor named is not registered as active on {day}: look at guarantor_id, or ask the "
            "office to register it",
        )
    return allow("R-25", "M-六")


def contract_number_free(taken: bool, number: str) -> Verdict:
    """R-25: unique within the institution."""
    if not taken:
        return allow("R-25", "M-六")
    return refuse(
        "R-25",
        "M-六",
        f"合同（借据）编号 {number} 已备案过；每笔借据用各自的编号",
        f"The contract number {number} is filed already; each drawdown has its own",
    )


def first_loan_plausible(*, stated: bool, earlier_known: bool) -> Verdict:
    """R-25: the bank states whether it is a first loan; an earlier scheme loan contradicts it."""
    if not (stated and earlier_known):
        return allow("R-25", "M-三(一)")
    return refuse(
        "R-25",
        "M-三(一)",
        "系统中已有该企业更早的科创贷款，不是首贷：请将 first_loan 填为 false",
        "The system knows an earlier scheme loan of the enterprise: state first_loan as false",
    )


# ── R-26: renewal ────────────────────────────────────────────────────────────────────────────────


def may_renew(*, same_parties: bool, amount_fen: int, outstanding_fen: int, overdue: bool) -> Verdict:
    """R-26: same enterprise and institution, at most the old outstanding principal, not overdue."""
    if not same_parties:
        return refuse(
            "R-26",
            "M-四(一)",
            "续贷须为同一企业在同一机构的贷款",
            "A renewal is of the same enterprise at the same institution",
        )
    if overdue:
        return refuse(
            "R-26", "M-四(一)", "原贷款已逾期，不能续贷", "The old loan is overdue: it cannot be renewed"
        )
    if amount_fen > outstanding_fen:
        most = format_money(outstanding_fen)
        return refuse(
            "R-26",
            "M-四(一)",
            f"续贷金额不得超过原贷款余额 {most}",
            f"Renew at most what is outstanding: {most}",
        )
    return allow("R-26", "M-四(一)")


# ── R-27: repayments ─────────────────────────────────────────────────────────────────────────────


def value_date_possible(value_date: date, disbursed_on: date, today: date) -> Verdict:
    """R-27: money comes back after it was paid out, and is posted once it is there."""
    if disbursed_on <= value_date <= today:
        return allow("R-27", "M-六")
    return refuse(
        "R-27",
        "M-六",
        f"入账日须在放款日 {disbursed_on} 至今天之间",
        f"The value date lies between the disbursement on {disbursed_on} and today",
    )


def within_outstanding(*, principal_fen: int, outstanding_fen: int) -> Verdict:
    """R-27: principal repaid never exceeds what is outstanding."""
    if principal_fen <= outstanding_fen:
        return allow("R-27", "M-六")
    most = format_money(outstanding_fen)
    return refuse(
        "R-27", "M-六", f"归还本金超过贷款余额 {most}", f"More principal than is outstanding: {most}"
    )


def still_a_repayment(*, claim_state: str | None, settles: bool) -> Verdict:
    """R-27, R-49, R-60: from the approval of a claim on, money received is a recovery, except the one
    that settles the loan in full before anything was paid out."""
    if claim_state is None or (claim_state == "approved" and settles):
        return allow("R-27", "M-七(二)")
    return refuse(
        "R-60",
        "M-七(二)",
        "该贷款的代偿申请已通过，收到的款项请按追偿登记",
        "A claim on this loan was approved: record the money as a recovery",
    )


# ──: overdue and its report ───────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Lateness:
    """When a report was due and by how many working days it is late; `provisional` lists the years
    counted Monday to Friday (R-33)."""

    deadline: date
    working_days_late: int
    provisional: tuple[int, ...]

    @property
    def on_time(self) -> bool:
        return self.working_days_late == 0


def report_lateness(
    overdue_since: date, reported_on: date, measures: Measures, working_days: WorkingDays
) -> Lateness:
    """R-31: the deadline is the n-th working day after D, D not counted; late in working days."""
    due = working_days.nth_after(overdue_since, measures.report_working_days)
    late = working_days.count_between(due.day, reported_on)
    # Reported on a day off after the deadline: late by the working days begun since, at least one.
    days = max(late.days, 1) if reported_on > due.day else 0
    return Lateness(due.day, days, tuple(sorted({*due.provisional, *late.provisional})))


def is_overdue(next_due_on: date | None, today: date) -> bool:
    """R-30: due on D and unpaid at its end is overdue from D+1 on."""
    return next_due_on is not None and next_due_on < today


def within_loan(*, unpaid_fen: int, outstanding_fen: int) -> Verdict:
    """R-31: a report states no more principal unpaid than is outstanding."""
    if unpaid_fen <= outstanding_fen:
        return allow("R-31", "M-七(一)")
    most = format_money(outstanding_fen)
    return refuse(
        "R-31",
        "M-七(一)",
        f"报告的未还本金超过贷款余额 {most}；如系统余额有误，请先补登还款或冲正",
        f"The unpaid principal reported is more than is outstanding: {most}; "
        "where the record is wrong, post or reverse repayments first",
    )


def overdue_as_stated(*, on_record: date | None, stated: date | None, unpaid: Sequence[date]) -> Verdict:
    """R-30: D is the oldest due date with anything unpaid; a stated D has to be it."""
    if on_record is None:
        return refuse(
            "R-30",
            "M-七(一)",
            "按还款计划和已登记的还款，该贷款没有逾期",
            "By its schedule and the repayments on record the loan is not overdue",
        )
    if stated is None or stated == on_record:
        return allow("R-30", "M-七(一)")
    days = "、".join(day.isoformat() for day in unpaid)
    return refuse(
        "R-30",
        "M-七(一)",
        f"逾期起算日应为最早未还清的到期日 {on_record}（未还清：{days}）",
        f"The overdue count starts from {on_record}, the oldest due date with anything unpaid ({days})",
    )
