"""The institution files what it lent (备案, R-25): one drawdown, or a batch whose good lines land.

A line is judged against the facts and against the lines before it, then all are written in one
statement. A filing moves its amount from approved to outstanding, so the ceiling (R-24) is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from services.lending import account_rows, exposure, policy, renewal
from services.lending.account import Account
from services.lending.application_row import MOVES
from services.lending.drawdown import FileLoan
from services.lending.filed_loan import announce_filed, loan_of
from services.lending.filing_conditions import (
    Pricing,
    governed_by,
    price,
    read_facts,
    uphold_contract_number,
    uphold_filing,
)
from services.lending.filing_refusals import (
    ApprovalRunOut,
    ContractNumberTaken,
    DisbursementOutOfTime,
    GuarantorNotAccepted,
    MoreThanApproved,
    NotListedAtDisbursement,
    NotTheFirstLoan,
    RateAboveCap,
    ReferenceRateUnknown,
)
from services.lending.filing_rows import Filed, first_owed, plan_of, write
from services.lending.lender import InstitutionNotActive
from services.lending.loan import Loan
from services.lending.renewal import RenewalRefused
from services.lending.shown import LoanShown, loan_shown
from shared.inbox import Heard
from shared.problems import IllegalMove, NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, News, Session, Today, router

steps = router("loans")
REFUSALS = (
    ContractNumberTaken,
    DisbursementOutOfTime,
    InstitutionNotActive,
    NotListedAtDisbursement,
    ApprovalRunOut,
    MoreThanApproved,
    GuarantorNotAccepted,
    NotTheFirstLoan,
    ReferenceRateUnknown,
    RateAboveCap,
    RenewalRefused,
    IllegalMove,
    NotFound,
)


@steps.post("/v1/loans", operation_id="file_loan", status_code=201, responses=refusals(*REFUSALS))
async def file_loan(
    body: FileLoan, session: Session, who: Caller, today: Today, news: News, response: Response
) -> LoanShown:
    """File a drawdown after its disbursement. A rate above the cap with a reason waits for the office."""
    (outcome,) = await file_all(session, news, who.party_id, [body], today)
    if isinstance(outcome, Refusal):
        raise outcome
    response.headers["Location"] = f"/v1/loans/{outcome.id}"
    return loan_shown(outcome)


@dataclass
class Desk:
    """What earlier lines of the same batch have used up: approvals, contract numbers, first loans."""

    today: date
    renewed: dict[UUID, Account]
    unfiled_fen: dict[UUID, int] = field(default_factory=dict)
    state: dict[UUID, str] = field(default_factory=dict)
    contract_numbers: dict[str, UUID] = field(default_factory=dict)
    first_disbursed_on: dict[str, date] = field(default_factory=dict)
    freed: dict[str, int] = field(default_factory=dict)
    filed: list[Filed] = field(default_factory=list)

    def judge(self, line: FileLoan, facts: Row[Any]) -> Pricing:
        """Every condition of the filing. Raises the refusal of the first that is not met."""
        uphold_contract_number(line.contract_number, self.contract_numbers.get(line.contract_number))
        uphold_filing(line, facts, self.today)
        state, rest = self.state.get(facts.id, facts.state), self.unfiled_fen.get(facts.id, facts.unfiled_fen)
        if state in ("approved", "lapsed"):
            uphold(policy.not_lapsed(facts.lapses_on, self.today), ApprovalRunOut)
        MOVES.after(state, "file", rule="R-25")
        uphold(policy.within_approval(amount_fen=line.amount, unfiled_fen=rest), MoreThanApproved)
        first = self.first_disbursed_on.get(facts.uscc, facts.first_disbursed_on)
        known = first is not None and first < line.disbursed_on
        uphold(policy.first_loan_plausible(stated=line.first_loan, earlier_known=known), NotTheFirstLoan)
        renewal.uphold_renewal(line, facts, self.renewed, self.today)
        return price(line, facts, governed_by(line))

    def file(self, line: FileLoan, facts: Row[Any]) -> Loan:
        """Judge the line and put it down; nothing changes when it is refused."""
        pricing = self.judge(line, facts)
        dues, loan = plan_of(line), loan_of(line, facts, pricing, self.today)
        loan.next_due_on = first_owed(dues)
        rest = self.unfiled_fen.get(facts.id, facts.unfiled_fen) - line.amount
        self.unfiled_fen[facts.id] = rest
        self.state[facts.id] = MOVES.after("approved", "file" if rest else "file_last")
        self.contract_numbers[line.contract_number] = loan.id
        first = self.first_disbursed_on.get(facts.uscc, facts.first_disbursed_on) or line.disbursed_on
        self.first_disbursed_on[facts.uscc] = min(first, line.disbursed_on)
        if line.renews and not facts.renews:
            self.freed[facts.uscc] = self.freed.get(facts.uscc, 0) - line.amount
        self.filed.append(Filed(loan, dues))
        return loan


async def file_all(
    session: AsyncSession, heard: Heard, institution: UUID, lines: Sequence[FileLoan], today: date
) -> list[Loan | Refusal]:
    """File every line that may be filed; for each its loan, or why it is refused."""
    renewed = await account_rows.load(session, [line.renews for line in lines if line.renews])
    facts = await read_facts(session, heard, institution, lines, today)
    desk, outcomes = Desk(today, renewed), list[Loan | Refusal]()
    for place, line in enumerate(lines):
        try:
            if place not in facts:
                raise NotFound(Text("未找到这一案件", "No such case"))
            loan = desk.file(line, facts[place])
            announce_filed(session, desk.filed[-1], today)
            renewal.close_renewed(session, loan, renewed, today)
            outcomes.append(loan)
        except Refusal as refusal:
            outcomes.append(refusal)
    await write(session, desk.filed, desk.unfiled_fen, desk.state)
    await account_rows.save(session, renewed.values())
    await exposure.change(session, desk.freed)
    return outcomes
