"""What has to hold for a filing: the facts, read in one round trip, and each condition's refusal
(R-11, R-13, R-21 to R-23, R-25)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.lending import policy
from services.lending.drawdown import FileLoan
from services.lending.filing_refusals import (
    ContractNumberTaken,
    DisbursementOutOfTime,
    GuarantorNotAccepted,
    NotListedAtDisbursement,
    RateAboveCap,
    ReferenceRateUnknown,
)
from services.lending.lender import InstitutionNotActive
from shared.inbox import Heard
from shared.measures import Measures, measures_on
from shared.problems import InvalidInput, uphold
from shared.rules import Text

FACTS = text(
    """
    SELECT r.i, a.id, a.uscc, a.enterprise_name, a.institution_id, a.institution_name, a.state,
           a.purpose, a.unfiled_fen, a.lapses_on, a.renews, nextval('loan_number') AS serial,
           b.uscc IS NOT NULL AND l.institution_id IS NOT NULL
               AND (r.guarantor_id IS NULL OR g.guarantor_id IS NOT NULL) AS heard,
           coalesce(b.listed @> r.day, false) AS listed,
           coalesce(l.active @> r.day, false) AS active_then,
           coalesce(l.active @> CAST(:today AS date), false) AS active_now,
           g.name AS guarantor_name, coalesce(g.active @> r.day, false) AS guarantor_active,
           (SELECT t.id FROM loan t WHERE t.institution_id = a.institution_id
            AND t.contract_number = r.contract_number) AS taken_by,
           (SELECT min(e.disbursed_on) FROM loan e
            WHERE e.uscc = a.uscc AND e.state <> 'exception_refused') AS first_disbursed_on,
           q.published_on, q.one_year, q.five_year,
           EXISTS (SELECT FROM reference_rate n WHERE n.published_on > r.day) AS superseded
    FROM unnest(CAST(:applications AS uuid[]), CAST(:days AS date[]), CAST(:contracts AS text[]),
                CAST(:guarantors AS uuid[]))
         WITH ORDINALITY AS r(application_id, day, contract_number, guarantor_id, i)
    JOIN application a ON a.id = r.application_id AND a.institution_id = :institution
    LEFT JOIN borrower b ON b.uscc = a.uscc
    LEFT JOIN lender l ON l.institution_id = a.institution_id
    LEFT JOIN guarantor g ON g.guarantor_id = r.guarantor_id
    LEFT JOIN LATERAL (SELECT * FROM reference_rate p WHERE p.published_on <= r.day
                       ORDER BY p.published_on DESC LIMIT 1) q ON true
    ORDER BY a.id, r.i
    FOR UPDATE OF a
    """
)


async def read_facts(
    session: AsyncSession, heard: Heard, institution: UUID, lines: Sequence[FileLoan], today: date
) -> dict[int, Row[Any]]:
    """The facts of each line by its place, with the approvals locked; a line without facts names an
    application that is not the institution's. Facts of roster still on their way are waited for."""
    values = {
        "institution": institution,
        "today": today,
        "applications": [line.application_id for line in lines],
        "days": [line.disbursed_on for line in lines],
        "contracts": [line.contract_number for line in lines],
        "guarantors": [line.guarantor_id for line in lines],
    }

    async def read() -> dict[int, Row[Any]]:
        return {row.i - 1: row for row in await session.execute(FACTS, values)}

    async def all_heard() -> dict[int, Row[Any]] | None:
        found = await read()
        return found if all(row.heard for row in found.values()) else None

    return await heard.wait_for(all_heard) or await read()


@dataclass(frozen=True, slots=True)
class Pricing:
    """What the rate was tested against; nothing of it where the market prices (R-22)."""

    tenor: str | None = None
    lpr: Decimal | None = None
    above_cap: bool = False


def uphold_contract_number(number: str, taken_by: UUID | None) -> None:
    """R-25: unique within the institution; the refusal says which of its loans has the number."""
    free = policy.contract_number_free(taken_by is not None, number)
    uphold(free, ContractNumberTaken, contract_number=number, loan_id=taken_by and str(taken_by))


def uphold_filing(line: FileLoan, facts: Row[Any], today: date) -> None:
    """The conditions that rest on one line and what is known beforehand."""
    day = line.disbursed_on
    uphold_contract_number(line.contract_number, facts.taken_by)
    uphold(policy.disbursed_in_force(day, today), DisbursementOutOfTime)
    if line.matures_on <= day:
        raise InvalidInput(
            Text("到期日须晚于放款日", "The maturity lies after the disbursement"),
            rule="R-25",
            errors=[{"pointer": "#/matures_on", "detail": f"> {day}"}],
        )
    uphold(policy.institution_active(facts.active_then, day), InstitutionNotActive)
    uphold(policy.institution_active(facts.active_now, today), InstitutionNotActive)
    uphold(policy.listed_on(facts.listed, day), NotListedAtDisbursement)
    named = policy.guarantor_named(
        security_type=line.security_type,
        named=line.guarantor_id is not None,
        active=facts.guarantor_active,
        day=day,
    )
    uphold(named, GuarantorNotAccepted)


def price(line: FileLoan, facts: Row[Any], measures: Measures) -> Pricing:
    """R-22: the LPR the rate is tested against, and whether it is above the cap with a reason."""
    if not policy.is_capped(line.security_type, measures):
        return Pricing()
    tenor = policy.tenor_of(line.disbursed_on, line.matures_on, line.reference_tenor)
    uphold(policy.tenor_stated(tenor), ReferenceRateUnknown)
    quote = None
    if facts.published_on is not None:
        quote = policy.Quote(facts.published_on, facts.one_year, facts.five_year, facts.superseded)
    uphold(policy.quote_known(quote, line.disbursed_on), ReferenceRateUnknown)
    assert quote is not None
    assert tenor is not None
    lpr = quote.of(tenor)
    cap = policy.rate_cap(lpr, measures)
    explained = policy.rate_explained(line.annual_rate, cap, line.rate_reason)
    uphold(explained, RateAboveCap, reference_rate=str(lpr), rate_cap=str(cap))
    return Pricing(tenor, lpr, line.annual_rate > cap)


def governed_by(line: FileLoan) -> Measures:
    """The measures in force on the disbursement date govern the loan for its whole life."""
    return measures_on(line.disbursed_on)
