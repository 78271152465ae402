"""The loan a filing makes, and what is told of it (R-25)."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.lending import account, policy
from services.lending.drawdown import FileLoan
from services.lending.filing_conditions import Pricing, governed_by
from services.lending.filing_rows import Filed
from services.lending.loan import Loan
from shared.database import new_id
from shared.events import LoanFiled
from shared.outbox import announce

AS_FILED = (
    "application_id",
    "contract_number",
    "annual_rate",
    "disbursed_on",
    "matures_on",
    "security_type",
    "guarantor_id",
    "repayment_method",
    "first_loan",
    "renews",
)


FURTHER = ("day_count", "guarantor_name", "purpose", "long_term")


def loan_of(line: FileLoan, facts: Row[Any], pricing: Pricing, today: date) -> Loan:
    measures = governed_by(line)
    return Loan(
        **{name: getattr(line, name) for name in AS_FILED},
        id=new_id(),
        number=f"L-{today.year}-{facts.serial:06d}",
        uscc=facts.uscc,
        enterprise_name=facts.enterprise_name,
        institution_id=facts.institution_id,
        institution_name=facts.institution_name,
        amount_fen=line.amount,
        day_count=line.day_count or measures.default_day_count,
        due_day=line.due_day or line.disbursed_on.day,
        guarantor_name=facts.guarantor_name,
        purpose=line.purpose or facts.purpose,
        long_term=policy.is_long_term(line.disbursed_on, line.matures_on, measures),
        reference_tenor=pricing.tenor,
        reference_rate=pricing.lpr,
        rate_reason=line.rate_reason if pricing.above_cap else None,
        measures=measures.version,
        filed_on=today,
        state="exception_pending" if pricing.above_cap else "active",
        outstanding_fen=line.amount,
    )


def same_filing(line: FileLoan, loan: Loan) -> bool:
    """Does the line file this loan once more?"""
    as_filed = all(getattr(line, name) == getattr(loan, name) for name in AS_FILED)
    return as_filed and line.amount == loan.amount_fen


def announce_filed(session: AsyncSession, filed: Filed, today: date) -> None:
    loan = filed.loan
    shown = {name: getattr(loan, name) for name in (*AS_FILED, *FURTHER)}
    event = LoanFiled(
        **shown,
        **account.about(loan, today),
        amount=loan.amount_fen,
        reference_rate=loan.reference_rate,
        status=loan.state,
        position=account.position(loan, filed.states(), {}, today),
    )
    announce(session, event)
