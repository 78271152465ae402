"""A lending service with many loans: institutions, enterprises, approvals to file on and loans filed,
all put there by set-based SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from bench import load
from bench.ground import SETTLE, execute
from services.lending.app import SERVICE as LENDING
from tests.ground import DAY, Alone, Databases, alone

LENDERS = 8
ENTERPRISES_SHARE = 4
"""So many loans of an enterprise lie in the filled tables on average."""
AMOUNT = "300000.00"
AMOUNT_FEN = 30_000_000


def lender(n: int) -> UUID:
    """The n-th institution (from 0)."""
    return UUID(int=n + 1)


def approval(n: int) -> UUID:
    """The n-th approval that waits for its filing (from 0): institution n modulo LENDERS holds it."""
    return UUID(f"aaaaaaaa-0000-7000-8000-{n:012x}")


PARTIES = """
    INSERT INTO lender (institution_id, name, active)
    SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, '银行' || n, '{{[2022-06-26,)}}'
    FROM generate_series(1, {lenders}) AS n
"""
ENTERPRISES = """
    INSERT INTO borrower (uscc, name, listed, registered)
    SELECT '91330482' || lpad(n::text, 10, '0'), '科技企业' || n, '{{[2022-06-26,)}}', true
    FROM generate_series(1, {enterprises}) AS n
"""
LOANS = """
    CREATE TEMP TABLE filled AS
    SELECT uuidv7() AS application_id, uuidv7() AS loan_id, n, n % {enterprises} + 1 AS e,
           n % {lenders} + 1 AS l FROM generate_series(1, {loans}) AS n
"""
FILLED_APPLICATIONS = """
    INSERT INTO application (id, number, uscc, enterprise_name, institution_id, institution_name,
        amount_fen, term_months, security_type, purpose, state, applied_on, decided_on,
        approved_amount_fen, approved_rate, approved_term_months, approved_security_type, unfiled_fen,
        lapses_on)
    SELECT application_id, 'A-2026-F' || n, '91330482' || lpad(e::text, 10, '0'), '科技企业' || e,
           ('00000000-0000-0000-0000-' || lpad(to_hex(l), 12, '0'))::uuid, '银行' || l,
           {amount}, 12, 'credit', '采购研发设备', 'filed', DATE '{day}', DATE '{day}', {amount}, 3.45, 12,
           'credit', 0, DATE '{day}' + 90 FROM filled
"""
FILLED_LOANS = """
    INSERT INTO loan (id, number, application_id, uscc, enterprise_name, institution_id,
        institution_name, contract_number, amount_fen, annual_rate, day_count, due_day, disbursed_on,
        matures_on, security_type, repayment_method, purpose, first_loan, long_term, renewals,
        reference_tenor, reference_rate, measures, filed_on, state, version, outstanding_fen,
        interest_received_fen, next_due_on, deadline_provisional)
    SELECT loan_id, 'L-2026-F' || n, application_id, '91330482' || lpad(e::text, 10, '0'), '科技企业' || e,
           ('00000000-0000-0000-0000-' || lpad(to_hex(l), 12, '0'))::uuid, '银行' || l, 'FILLED-' || n,
           {amount}, 3.45, 360, 2, DATE '{day}', DATE '{day}' + 365, 'credit', 'bullet_interest_monthly',
           '采购研发设备', false, false, 0, '1Y', 3.0, '2022-06-26', DATE '{day}', 'active', 1, {amount}, 0,
           DATE '{day}' + 30, false FROM filled
"""
FILLED_DUES = """
    INSERT INTO due (loan_id, due_on, principal_fen, filed_interest_fen, interest_fen,
        principal_paid_fen, interest_paid_fen)
    SELECT loan_id, (DATE '{day}' + m * INTERVAL '1 month')::date,
           CASE WHEN m = 12 THEN {amount} ELSE 0 END, 89125, 89125, 0, 0
    FROM filled, generate_series(1, 12) AS m
"""
APPROVALS = """
    INSERT INTO application (id, number, uscc, enterprise_name, institution_id, institution_name,
        amount_fen, term_months, security_type, purpose, state, applied_on, decided_on,
        approved_amount_fen, approved_rate, approved_term_months, approved_security_type, unfiled_fen,
        lapses_on)
    SELECT ('aaaaaaaa-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'A-2026-W' || n,
           '91330482' || lpad(e::text, 10, '0'), '科技企业' || e,
           ('00000000-0000-0000-0000-' || lpad(to_hex(l), 12, '0'))::uuid, '银行' || l,
           {amount}, 12, 'credit', '采购研发设备', 'approved', DATE '{day}', DATE '{day}', {amount}, 3.45, 12,
           'credit', {amount}, DATE '{day}' + 90
    FROM (SELECT n, n % {enterprises} + 1 AS e, n % {lenders} + 1 AS l
          FROM generate_series({first}, {last}) AS n) AS w
"""


@dataclass
class Town:
    """Lending at work with `loans` loans filed and approvals waiting; what its people send."""

    it: Alone
    loans: int
    approvals: int = 0
    next_approval: int = 0

    @property
    def url(self) -> str:
        return self.it.running.database.url

    def headers(self, n: int, key: str | None = None) -> dict[str, str]:
        """The headers of the n-th institution."""
        token = self.it.issuer.token("institution", party=str(lender(n)))
        return {"authorization": f"Bearer {token}"} | ({"idempotency-key": key} if key else {})

    def lists(self) -> list[bytes]:
        """Each institution asks for 50 of its loans."""
        return [load.request("GET", "/v1/loans?limit=50", self.headers(n)) for n in range(LENDERS)]

    def filings(self, count: int) -> list[bytes]:
        """So many drawdowns, each on an approval of its own that nobody has used yet."""
        first, self.next_approval = self.next_approval, self.next_approval + count
        assert self.next_approval <= self.approvals, "more filings than approvals were put there"
        known = [self.headers(n) for n in range(LENDERS)]
        return [
            load.request(
                "POST", "/v1/loans", known[n % LENDERS] | {"idempotency-key": f"bench-{n}"}, drawdown(n)
            )
            for n in range(first, first + count)
        ]


def drawdown(n: int) -> dict[str, object]:
    """The filing on the n-th approval: a credit loan of a year, interest monthly (12 dues)."""
    return {
        "application_id": str(approval(n)),
        "contract_number": f"JK-2026-{n:08d}",
        "amount": AMOUNT,
        "annual_rate": "3.4500",
        "disbursed_on": DAY.isoformat(),
        "matures_on": DAY.replace(year=DAY.year + 1).isoformat(),
        "security_type": "credit",
        "repayment_method": "bullet_interest_monthly",
        "purpose": "采购研发设备",
        "first_loan": False,
    }


@asynccontextmanager
async def lending_town(databases: Databases, loans: int, approvals: int) -> AsyncIterator[Town]:
    """Lending by itself with so many loans and so many approvals waiting to be filed on."""
    async with alone(databases, LENDING) as it:
        await fill(it.running.database.url, loans, approvals)
        yield Town(it, loans, approvals)


async def fill(url: str, loans: int, approvals: int) -> None:
    """Put parties, `loans` loans with their dues, and `approvals` waiting approvals into lending."""
    values = {
        "loans": loans,
        "enterprises": max(1000, loans // ENTERPRISES_SHARE),
        "lenders": LENDERS,
        "amount": AMOUNT_FEN,
        "day": DAY.isoformat(),
        "first": 0,
        "last": approvals - 1,
    }
    filling = (PARTIES, ENTERPRISES, LOANS, FILLED_APPLICATIONS, FILLED_LOANS, FILLED_DUES, APPROVALS)
    await execute(url, *(statement.format(**values) for statement in filling), *SETTLE)
