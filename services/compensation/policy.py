"""The rules of claims and the fund, pure: values in, a verdict or an amount out.

R-31 (facts shown), R-40 (when), R-41 (loss), R-42 (shares), R-43 (cap), R-44 (fund), R-47 (deadline), R-49
(new facts), R-60 (sharing a recovery), R-61 (final loss). Amounts are integer fen, days are business dates
of Asia/Shanghai, rates percent per year. `measures` are those of the loan's disbursement date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from shared.measures import Measures, Shares
from shared.money import format_money, interest, largest_remainder, percent_down, round_half_up
from shared.rules import Verdict, allow, refuse

# ── R-40: who may claim, and when ────────────────────────────────────────────────────────────────


def first_claim_day(overdue_since: date, measures: Measures) -> date:
    """R-40: the first day later than D + the waiting days."""
    return overdue_since + timedelta(days=measures.claim_after_days + 1)


def is_covered(cover: str) -> Verdict:
    """R-22, R-40: a filing whose rate the office has not accepted is not covered."""
    if cover == "covered":
        return allow("R-22", "M-三(二)")
    return refuse(
        "R-22",
        "M-三(二)",
        "贷款利率超过上限，办公室尚未同意，不在风险补偿范围内",
        "The rate is above the cap and the office has not accepted it: the loan is not covered",
    )


def is_overdue(overdue_since: date | None) -> Verdict:
    """R-30, R-32: something fell due and is still unpaid."""
    if overdue_since is not None:
        return allow("R-30", "M-七(一)")
    return refuse(
        "R-30", "M-七(一)", "贷款没有逾期，或逾期已还清", "The loan is not overdue, or it was cured"
    )


def is_reported(reported: bool) -> Verdict:
    """R-31: the office was told of the overdue loan; a late report forfeits nothing by itself."""
    if reported:
        return allow("R-31", "M-七(一)")
    return refuse(
        "R-31",
        "M-七(一)",
        "尚未向联席会议办公室报告逾期，请先提交逾期报告",
        "The overdue loan was not reported to the office: send the overdue report first",
    )


def has_waited(overdue_since: date, today: date, measures: Measures) -> Verdict:
    """R-40: refused before the first possible day, which is named."""
    first = first_claim_day(overdue_since, measures)
    if today >= first:
        return allow("R-40", "M-七(一)")
    days = measures.claim_after_days
    return refuse(
        "R-40",
        "M-七(一)",
        f"逾期满{days}日后方可申请代偿：{overdue_since} 起算，最早为 {first}",
        f"A claim is possible after {days} days overdue, counted from {overdue_since}: from {first} on",
    )


def is_unclaimed(claim_number: str | None) -> Verdict:
    """R-40: one live claim per loan."""
    if claim_number is None:
        return allow("R-40", "M-七(一)")
    return refuse(
        "R-40",
        "M-七(一)",
        f"该贷款已有代偿申请 {claim_number}，每笔贷款只能有一项有效申请",
        f"Claim {claim_number} stands for this loan; one loan has one live claim",
    )


def states_new_facts(declined: bool, statement: str | None) -> Verdict:
    """R-49: a declined claim is final for its facts; a new one states what is new."""
    if not declined or statement:
        return allow("R-49", "M-七(一)")
    return refuse(
        "R-49",
        "M-七(一)",
        "该贷款的代偿申请曾被否决，再次申请须在 new_facts 中写明新的事实",
        "A claim on this loan was declined: state in new_facts what is new",
    )


# ── R-41: the loss ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Step:
    """From this day on this principal (fen) was outstanding, until the next step."""

    from_day: date
    outstanding_fen: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Unpaid principal and contract interest within the agreed term, in fen."""

    principal_fen: int
    interest_fen: int

    @property
    def total_fen(self) -> int:
        return self.principal_fen + self.interest_fen


@dataclass(frozen=True, slots=True)
class Contract:
    """What the interest of a loan rests on."""

    annual_rate: Decimal
    day_count: int
    matures_on: date


def interest_accrued(steps: Sequence[Step], contract: Contract, until: date) -> int:
    """R-41: simple interest day by day on the outstanding principal, from the disbursement to the
    earlier of `until` and the agreed maturity, rounded half up once at the end. The first day counts,
    the last does not (R-28). No penalty, no compound interest, nothing after maturity."""
    end = min(until, contract.matures_on)
    ends = [step.from_day for step in steps[1:]] + [end]
    total = Fraction(0)
    for step, next_day in zip(steps, ends, strict=True):
        days = (min(next_day, end) - step.from_day).days
        if days > 0:
            total += interest(step.outstanding_fen, contract.annual_rate, days, contract.day_count)
    return round_half_up(total)


def loss(
    *,
    outstanding_fen: int,
    interest_received_fen: int,
    steps: Sequence[Step],
    contract: Contract,
    until: date,
) -> Loss:
    """R-41: the outstanding principal on record, and interest accrued less received, never below zero."""
    accrued = interest_accrued(steps, contract, until)
    return Loss(outstanding_fen, max(0, accrued - interest_received_fen))


def stated_as_computed(stated: Loss, computed: Loss) -> Verdict:
    """R-41: the principal is the record's; interest is at most the computed figure."""
    if stated.principal_fen != computed.principal_fen or stated.interest_fen > computed.interest_fen:
        principal, most = format_money(computed.principal_fen), format_money(computed.interest_fen)
        return refuse(
            "R-41",
            "M-五(一)",
            f"申请金额与记录不符：未还本金为 {principal}，期内欠息至多 {most}（不含罚息、复利）",
            f"Unpaid principal on record is {principal}; interest is at most {most}, no penalty or compound",
        )
    return allow("R-41", "M-五(一)")


def is_a_loss(loss: Loss) -> Verdict:
    """R-41: there must be something to compensate."""
    if loss.total_fen > 0:
        return allow("R-41", "M-五(一)")
    return refuse("R-41", "M-五(一)", "没有未清偿的本金和利息", "No principal or interest is unpaid")


# ──: shares and the cap ───────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Split:
    """A loss among the three who bear it, principal and interest apart, in fen."""

    fund_principal_fen: int
    fund_interest_fen: int
    guarantor_principal_fen: int
    guarantor_interest_fen: int
    institution_principal_fen: int
    institution_interest_fen: int

    @property
    def fund_fen(self) -> int:
        return self.fund_principal_fen + self.fund_interest_fen

    @property
    def guarantor_fen(self) -> int:
        return self.guarantor_principal_fen + self.guarantor_interest_fen

    @property
    def institution_fen(self) -> int:
        return self.institution_principal_fen + self.institution_interest_fen


def split(loss: Loss, shares: Shares) -> Split:
    """R-42: fund and guarantor rounded down to the fen, principal and interest apart; the institution
    bears the rest, so that the shares add up to the loss."""
    fund_principal = percent_down(loss.principal_fen, shares.fund)
    fund_interest = percent_down(loss.interest_fen, shares.fund)
    guarantor_principal = percent_down(loss.principal_fen, shares.guarantor)
    guarantor_interest = percent_down(loss.interest_fen, shares.guarantor)
    return Split(
        fund_principal,
        fund_interest,
        guarantor_principal,
        guarantor_interest,
        loss.principal_fen - fund_principal - guarantor_principal,
        loss.interest_fen - fund_interest - guarantor_interest,
    )


def headroom(cleared_fen: int, measures: Measures) -> int:
    """R-43: what the fund may still clear for the institution in the year, in fen; never below zero."""
    return max(0, measures.institution_year_cap_fen - cleared_fen)


def cut_to(whole: Split, headroom_fen: int) -> Split:
    """R-43: the claim that crosses the cap gets what is left. The cut takes interest before principal
    and is borne by the institution."""
    cut = max(0, whole.fund_fen - headroom_fen)
    of_interest = min(cut, whole.fund_interest_fen)
    of_principal = cut - of_interest
    return replace(
        whole,
        fund_principal_fen=whole.fund_principal_fen - of_principal,
        fund_interest_fen=whole.fund_interest_fen - of_interest,
        institution_principal_fen=whole.institution_principal_fen + of_principal,
        institution_interest_fen=whole.institution_interest_fen + of_interest,
    )


# ──: the fund ───────────────────────────────────────────────────────────────────


def fund_suffices(available_fen: int, needed_fen: int) -> Verdict:
    """R-44: the unreserved balance covers what is to be reserved."""
    if needed_fen <= available_fen:
        return allow("R-44", "M-五(一)")
    available, needed = format_money(available_fen), format_money(needed_fen)
    return refuse(
        "R-44",
        "M-五(一)",
        f"风险补偿金可用余额 {available}，不足 {needed}，须待市财政局增拨后再通过",
        f"The fund has {available} unreserved, {needed} is needed: finance has to appropriate more first",
    )


def payout_due_on(approved_on: date, measures: Measures) -> date:
    """R-47: the day the payout is due; watched and shown, not a bar."""
    return approved_on + timedelta(days=measures.payout_days)


# ──: recovery and final loss ──────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Parts:
    """One amount among fund, guarantor and institution, in fen; negative: owed."""

    fund_fen: int
    guarantor_fen: int
    institution_fen: int

    def negated(self) -> Parts:
        return Parts(-self.fund_fen, -self.guarantor_fen, -self.institution_fen)


def recovery_weights(borne: Parts, cut_fen: int, shares: Shares) -> tuple[int, int, int]:
    """R-60: the measures' ratio, or the amounts actually borne where R-43 cut the fund's share."""
    if cut_fen:
        return borne.fund_fen, borne.guarantor_fen, borne.institution_fen
    return shares.fund, shares.guarantor, shares.institution


def share_recovery(net_fen: int, weights: tuple[int, int, int], borne: Parts, had: Parts) -> Parts:
    """R-60: a net recovery by largest remainder; `had` is what earlier recoveries gave each. Fund and
    guarantor never get back more than they bore, the excess stays with the institution. A negative net
    (costs above gross) is owed in the same ratio."""
    fund, guarantor, _ = largest_remainder(net_fen, weights)
    fund = min(fund, borne.fund_fen - had.fund_fen)
    guarantor = min(guarantor, borne.guarantor_fen - had.guarantor_fen)
    return Parts(fund, guarantor, net_fen - fund - guarantor)


def final_loss(borne: Parts, recovered: Parts) -> Parts:
    """R-61: per party, borne minus recovered, never below zero."""
    return Parts(
        max(0, borne.fund_fen - recovered.fund_fen),
        max(0, borne.guarantor_fen - recovered.guarantor_fen),
        max(0, borne.institution_fen - recovered.institution_fen),
    )


# ── days a command states ────────────────────────────────────────────────────────────────────────


def within(day: date, first: date | None, today: date, rule: str, article: str) -> Verdict:
    """A stated day lies in [first, today]: money moves and meetings are recorded after they happened."""
    if (first is None or first <= day) and day <= today:
        return allow(rule, article)
    span_zh = f"{first} 至 {today} 之间" if first else f"{today} 或之前"
    span_en = f"between {first} and {today}" if first else f"on or before {today}"
    return refuse(rule, article, f"日期须在 {span_zh}", f"The day must lie {span_en}")
