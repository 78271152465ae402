"""Fifty approvals at once: the last fen of a year, of the fund, of one claim (R-43, R-44, R-45, R-47)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlmodel import col

from services.compensation.claim import Ballot, Claim
from services.compensation.institution_year import InstitutionYear
from shared.events import ClaimApproved, CompensationPaid, RecoveryDistributed
from tests.compensation.town import BANK, UNITS, Loan, Town
from tests.ground import key

MANY = 50


async def ready(town: Town, loans: list[Loan]) -> list[str]:
    """Claims for these loans, each one approval short of being decided."""
    await town.it.hear(*(loan.filed() for loan in loans), *(loan.reported() for loan in loans))
    claims = [await town.claimed(loan) for loan in loans]
    async with town.it.running.database.transaction() as session:
        for claim in claims:
            for unit in UNITS[:6]:
                ballot = Ballot(
                    case_id=UUID(claim),
                    unit=unit,
                    choice="approve",
                    cast_by=unit,
                    cast_at=datetime.now(UTC),
                    figures=1,
                )
                session.add(ballot)
    return claims


async def test_r43_fifty_at_once_never_clear_more_than_the_cap(town: Town) -> None:
    await town.fund()
    claims = await ready(town, [Loan(100_000_001, 3_456_789) for _ in range(MANY)])
    answers = await asyncio.gather(*(town.vote(claim, UNITS[6]) for claim in claims))
    assert {answer.status_code for answer in answers} == {200}
    told = await town.it.announced(ClaimApproved)
    shares = [event.split.fund_principal + event.split.fund_interest for event in told]
    assert len(told) == MANY
    assert sum(shares) == 1_000_000_000
    whole = 60_000_000 + 2_074_073
    assert sorted(shares, reverse=True) == [whole] * 16 + [6_814_832] + [0] * (MANY - 17)
    assert all(event.cut == whole - share for event, share in zip(told, shares, strict=True))
    async with town.it.running.database.reading() as session:
        year = (await session.execute(select(InstitutionYear))).scalar_one()
    assert (year.institution_id, year.cleared_fen) == (BANK, 1_000_000_000)
    assert (await town.balances())["reserved"] == "10000000.00"


async def test_r44_fifty_at_once_never_reserve_more_than_the_fund_has(town: Town) -> None:
    await town.fund("7200000.00")
    loans = [Loan(100_000_000, bank=UUID(int=100 + n)) for n in range(MANY)]
    claims = await ready(town, loans)
    answers = await asyncio.gather(*(town.vote(claim, UNITS[6]) for claim in claims))
    assert sorted(answer.status_code for answer in answers) == [200] * 12 + [409] * (MANY - 12)
    assert {a.json()["rule"] for a in answers if a.status_code == 409} == {"R-44"}
    balances = await town.balances()
    assert (balances["available"], balances["reserved"]) == ("0.00", "7200000.00")
    async with town.it.running.database.reading() as session:
        approved = select(func.count()).where(col(Claim.state) == "approved")
        assert (await session.execute(approved)).scalar_one() == 12


async def test_r45_seven_ballots_at_once_approve_once(town: Town) -> None:
    await town.fund()
    claim = await town.claimed(await town.overdue(Loan(100_000_000)))
    answers = await asyncio.gather(*(town.vote(claim, unit) for unit in UNITS for _ in range(3)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(await town.it.announced(ClaimApproved)) == 1
    assert (await town.balances())["reserved"] == "600000.00"


async def test_r47_a_share_paid_fifty_times_at_once_is_paid_once(town: Town) -> None:
    await town.fund()
    claim = await town.approved(await town.overdue(Loan(100_000_000)))
    answers = await asyncio.gather(*(town.pay(claim) for _ in range(MANY)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * (MANY - 1)
    assert {a.json()["type"] for a in answers if a.status_code == 409} == {"/problems/paid-twice"}
    assert len(await town.it.announced(CompensationPaid)) == 1
    assert (await town.balances())["paid"] == "600000.00"


async def test_r60_recoveries_at_once_never_give_the_fund_more_than_it_bore(town: Town) -> None:
    await town.fund()
    claim = await town.paid(await town.overdue(Loan(100_000_000)))
    await asyncio.gather(*(town.recover(claim, "70000.01") for _ in range(20)))
    told = await town.it.announced(RecoveryDistributed)
    assert len(told) == 20
    assert sum(event.fund for event in told) == 60_000_000
    assert all(event.fund + event.institution == event.net == 7_000_001 for event in told)


async def test_r60_a_receipt_confirmed_twenty_times_at_once_enters_the_fund_once(town: Town) -> None:
    await town.fund()
    claim = await town.paid(await town.overdue(Loan(100_000_000)))
    recovery = (await town.recover(claim, "100000.00")).json()
    body = {"received_on": "2026-03-02", "voucher": "进账单"}
    address = f"/v1/recoveries/{recovery['id']}/receipts"
    answers = await asyncio.gather(*(town.finance.post(address, json=body, headers=key()) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert (await town.balances())["recovered"] == "60000.00"
