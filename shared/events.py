"""The published language: every fact one service tells the others.

Facts are past tense, frozen, and carry ids *and* the names and figures their readers need, the business
date, and the version of the measures they were decided under. No personal data: facts are kept for
ever. A change that breaks a reader is a new type (`LoanFiledV2`); readers ignore unknown members.

On the wire an event is a CloudEvent 1.0: the class name is its type, `event_id` its id, `occurred_at`
its time, and the other members its JSON data.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from uuid_utils.compat import uuid7

from shared.money import Money, Rate

ROSTER = "kechuang.roster"
LENDING = "kechuang.lending"
COMPENSATION = "kechuang.compensation"
GATEWAY = "kechuang.gateway"
TOPICS = (ROSTER, LENDING, COMPENSATION, GATEWAY)

SecurityType = Literal["credit", "pledge", "ip_pledge", "guarantee", "mortgage"]

EVENTS: dict[str, type[Event]] = {}


class Fact(BaseModel):
    """A part of an event."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(Fact):
    """One fact. Subclasses name their topic, and which member is the key that keeps their order."""

    topic: ClassVar[str]
    key_member: ClassVar[str]

    event_id: UUID = Field(default_factory=uuid7, exclude=True)
    occurred_at: datetime = Field(default_factory=lambda: datetime.now(UTC), exclude=True)
    business_date: date
    measures: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if hasattr(cls, "key_member"):
            EVENTS[cls.__name__] = cls

    @classmethod
    def type_name(cls) -> str:
        return cls.__name__

    @property
    def key(self) -> str:
        return str(getattr(self, self.key_member))

    def payload(self) -> str:
        """The JSON data, without the envelope's own members."""
        return self.model_dump_json()

    @classmethod
    def read(cls, event_id: UUID, occurred_at: datetime, data: bytes) -> Self:
        """The event as it came from the bus."""
        fact = cls.model_validate_json(data)
        return fact.model_copy(update={"event_id": event_id, "occurred_at": occurred_at})


# ── roster ────────────────────────────────────────────────────────────────────────────────────────


class Period(Fact):
    """Days from `from_day` to `to_day`, both included; open-ended without `to_day`."""

    from_day: date
    to_day: date | None = None


class AboutEnterprise(Event):
    topic = ROSTER
    uscc: str
    name: str


class SupportListChanged(AboutEnterprise):
    """`listed` is the enterprise's whole calendar on the support list as known now (R-03 to R-05):
    past, present and coming days, so that a reader can answer for any day."""

    listed: tuple[Period, ...]
    from_day: date
    cause: Literal["qualification", "expiry", "revocation", "d_class_start", "d_class_end", "renewal"]
    document: str


class EnterpriseListed(SupportListChanged):
    """The enterprise is on the support list from `from_day` on, or its days on it have changed."""

    key_member = "uscc"


class EnterpriseDelisted(SupportListChanged):
    """The enterprise is off the support list from `from_day` on."""

    key_member = "uscc"


class EnterpriseRegistered(AboutEnterprise):
    """A listed enterprise has an account (R-08). `activation` is the SHA-256 (hex) of the code that
    its registration was answered with; whoever holds the code may set up its access."""

    key_member = "uscc"
    registration_id: UUID
    activation: str


class ProjectBarSet(AboutEnterprise):
    """Barred from projects and rewards (R-50): open-ended until the fund has paid."""

    key_member = "uscc"
    claim_id: UUID
    until: date | None


class ProjectBarLifted(AboutEnterprise):
    """The claim behind the bar was cancelled before anything was paid (R-49)."""

    key_member = "uscc"
    claim_id: UUID


class AboutInstitution(Event):
    topic = ROSTER
    institution_id: UUID
    name: str
    effective_on: date


class InstitutionAdmitted(AboutInstitution):
    """Active from `effective_on` (R-10)."""

    key_member = "institution_id"


class InstitutionExited(AboutInstitution):
    """No new business from `effective_on` (R-11); loans filed before stay covered."""

    key_member = "institution_id"
    cause: Literal["own_notice", "conference_decision"]


class InstitutionDisqualified(AboutInstitution):
    """Disqualified for a year without lending (R-71); refused until `refused_until` (R-12)."""

    key_member = "institution_id"
    refused_until: date


class AboutGuarantor(Event):
    topic = ROSTER
    guarantor_id: UUID
    name: str
    effective_on: date


class GuarantorAdmitted(AboutGuarantor):
    """May guarantee scheme loans from `effective_on` (R-13)."""

    key_member = "guarantor_id"


class GuarantorExited(AboutGuarantor):
    """Guarantees no new loans from `effective_on` (R-13)."""

    key_member = "guarantor_id"


# ── lending ───────────────────────────────────────────────────────────────────────────────────────


class Terms(Fact):
    """Who, how much and how: the terms of an application or approval."""

    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    amount: Money
    term_months: int
    security_type: SecurityType


class AboutApplication(Event):
    topic = LENDING
    application_id: UUID
    number: str
    terms: Terms


class LoanApplied(AboutApplication):
    key_member = "application_id"
    purpose: str


class LoanApproved(AboutApplication):
    """`terms` are the approved ones; unfiled after `lapses_on` the approval lapses (R-21)."""

    key_member = "application_id"
    annual_rate: Rate
    lapses_on: date


class LoanRejected(AboutApplication):
    key_member = "application_id"
    reason: str


class ApprovalLapsed(AboutApplication):
    key_member = "application_id"


class ApplicationWithdrawn(AboutApplication):
    key_member = "application_id"


class Due(Fact):
    """What falls due on one day and what of it is paid."""

    due_on: date
    principal: Money
    interest: Money
    principal_paid: Money
    interest_paid: Money


class PrincipalStep(Fact):
    """From `from_day` on (value date) this principal was outstanding, until the next step."""

    from_day: date
    outstanding: Money


class Position(Fact):
    """A loan as it stands: enough to compute a claim (R-41) without asking anybody.

    `version` grows with every change of the loan, so that a late reader keeps the newest."""

    version: int
    outstanding: Money
    interest_received: Money
    dues: tuple[Due, ...]
    steps: tuple[PrincipalStep, ...]
    overdue_since: date | None
    """D of R-30: the oldest due date with anything unpaid at its end; None when nothing is overdue."""


class AboutLoan(Event):
    topic = LENDING
    loan_id: UUID
    number: str
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str


LoanStatus = Literal["exception_pending", "exception_refused", "active", "overdue", "settled", "renewed"]


class LoanFiled(AboutLoan):
    """A drawdown is filed (R-25). Covered unless `status` is `exception_pending` (R-22)."""

    key_member = "loan_id"
    application_id: UUID
    contract_number: str
    amount: Money
    annual_rate: Rate
    day_count: int
    disbursed_on: date
    matures_on: date
    security_type: SecurityType
    guarantor_id: UUID | None
    guarantor_name: str | None
    repayment_method: str
    purpose: str
    first_loan: bool
    long_term: bool
    renews: UUID | None
    reference_rate: Rate | None
    """The LPR the cap was tested against (R-22); None where the market prices."""
    status: LoanStatus
    position: Position


class RateExceptionDecided(AboutLoan):
    """The office accepted (covered from now) or refused the rate above the cap (R-22)."""

    key_member = "loan_id"
    accepted: bool


class LoanRenewed(AboutLoan):
    """Closed by a renewal without repaying principal (R-26). Not `closed`: only a part was renewed, and
    the rest stays outstanding under the old contract."""

    key_member = "loan_id"
    renewed_by: UUID
    closed: bool = True
    position: Position


class RepaymentRecorded(AboutLoan):
    """Money came back (R-27)."""

    key_member = "loan_id"
    repayment_id: UUID
    reference: str
    principal: Money
    interest: Money
    value_date: date
    position: Position


class RepaymentReversed(AboutLoan):
    """A repayment was undone by its negative twin (冲正, R-27)."""

    key_member = "loan_id"
    repayment_id: UUID
    reverses: UUID
    principal: Money
    interest: Money
    value_date: date
    position: Position


class LoanCorrected(AboutLoan):
    """A filed figure was corrected with the office's consent (R-29)."""

    key_member = "loan_id"
    correction_id: UUID
    field: str
    old: str
    new: str
    position: Position


class OverdueDetected(AboutLoan):
    """The system found a due date passed unpaid (R-30)."""

    key_member = "loan_id"
    overdue_since: date
    report_deadline: date
    position: Position


class RepaymentOverdue(AboutLoan):
    """The institution reported the overdue loan (R-31)."""

    key_member = "loan_id"
    report_id: UUID
    overdue_since: date
    reported_on: date
    report_deadline: date
    on_time: bool
    working_days_late: int
    unpaid_principal: Money
    unpaid_interest: Money
    cause: str
    action: str
    position: Position


class OverdueCured(AboutLoan):
    """All that was overdue is paid (R-32)."""

    key_member = "loan_id"
    overdue_since: date
    cured_on: date
    position: Position


class LoanSettled(AboutLoan):
    """Nothing is owed any more (R-27)."""

    key_member = "loan_id"
    settled_on: date
    position: Position


class CooperationCancelled(Event):
    """No loan in a whole year: cooperation ends (R-71); roster refuses a new admission (R-12)."""

    topic = LENDING
    key_member = "institution_id"
    institution_id: UUID
    name: str
    year: int
    effective_on: date


class WorkingCalendarSet(Event):
    """The office uploaded a year's working days (R-33): weekdays off and weekend days worked."""

    topic = LENDING
    key_member = "year"
    year: int
    exceptions: dict[date, bool]


# ── compensation ──────────────────────────────────────────────────────────────────────────────────


class AboutClaim(Event):
    topic = COMPENSATION
    claim_id: UUID
    claim_number: str
    loan_id: UUID
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    guarantor_id: UUID | None


class Split(Fact):
    """One amount of principal and interest among the three who bear a loss (R-42)."""

    fund_principal: Money
    fund_interest: Money
    guarantor_principal: Money
    guarantor_interest: Money
    institution_principal: Money
    institution_interest: Money


class ClaimSubmitted(AboutClaim):
    key_member = "loan_id"
    claimed_on: date
    principal: Money
    interest: Money


class ClaimRecomputed(AboutClaim):
    """Money came in before the approval: new figures, and the ballots cast on the old are void (R-41)."""

    key_member = "loan_id"
    figures: int
    principal: Money
    interest: Money


class ClaimReturned(AboutClaim):
    key_member = "loan_id"
    reasons: str


class ClaimWithdrawn(AboutClaim):
    key_member = "loan_id"


class ClaimLapsed(AboutClaim):
    """The loan was cured before approval (R-32)."""

    key_member = "loan_id"


class ClaimApproved(AboutClaim):
    """The conference approved (R-45): the fund's share is reserved, the project bar begins (R-50)."""

    key_member = "loan_id"
    approved_on: date
    principal: Money
    interest: Money
    split: Split
    cut: Money
    """What the institution's yearly cap took from the fund's share (R-43)."""
    payout_due_on: date


class ClaimDeclined(AboutClaim):
    key_member = "loan_id"
    reason: str


class ClaimCancelled(AboutClaim):
    """The borrower paid in full before anything was paid out (R-49)."""

    key_member = "loan_id"


class CompensationPaid(AboutClaim):
    """Fund and guarantor have paid (R-47). `fund_paid_on` starts the project bar's years (R-50)."""

    key_member = "loan_id"
    fund_paid: Money
    guarantor_paid: Money
    fund_paid_on: date | None
    paid_on: date


class CreditRecordConfirmed(AboutClaim):
    key_member = "loan_id"
    recorded_on: date
    reference: str


class RecoveryRecorded(AboutClaim):
    """Money was recovered (R-60); shared at once, or when the payout is complete."""

    key_member = "loan_id"
    recovery_id: UUID
    gross: Money
    costs: Money
    received_on: date


class RecoveryDistributed(AboutClaim):
    """A recovery's net was shared (R-60). Negative shares are owed towards the costs."""

    key_member = "loan_id"
    recovery_id: UUID
    net: Money
    fund: Money
    guarantor: Money
    institution: Money


class LossWrittenOff(AboutClaim):
    """The final loss is written off (R-61)."""

    key_member = "loan_id"
    ground: Literal["bankruptcy", "liquidation", "enforcement_terminated"]
    fund: Money
    guarantor: Money
    institution: Money


# ── gateway ───────────────────────────────────────────────────────────────────────────────────────


class SandboxClockMoved(Event):
    """A sandbox's business date was moved; a live installation never says this."""

    topic = GATEWAY
    key_member = "clock"
    clock: Literal["sandbox"] = "sandbox"
    today: date
