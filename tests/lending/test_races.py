"""The last yuan (R-24): fifty at once, on the real database, and exactly as many win as there is room."""

from __future__ import annotations

import asyncio
from datetime import date

from sqlalchemy import text

from shared.events import LoanRenewed
from tests.ground import key
from tests.lending.town import ALPHA, BANK, RIVAL, Town, done, refused

ACROSS = text(
    "SELECT (SELECT coalesce(sum(outstanding_fen), 0) FROM loan WHERE uscc = :uscc) "
    "+ (SELECT coalesce(sum(unfiled_fen), 0) FROM application WHERE uscc = :uscc AND renews IS NULL) "
    "AS added_up, (SELECT committed_fen FROM exposure WHERE uscc = :uscc) AS kept"
)


async def kept_and_added_up(town: Town, uscc: str = ALPHA) -> tuple[int, int]:
    """The exposure as kept, and as it adds up from loans and approvals."""
    async with town.it.running.database.reading() as session:
        row = (await session.execute(ACROSS, {"uscc": uscc})).one()
    return row.kept, row.added_up


async def test_r24_of_fifty_who_race_for_the_last_yuan_exactly_one_wins(town: Town) -> None:
    done(await town.approve(await town.apply("9999999.00"), "9999999.00"))
    asked = [await town.apply("1.00", at=BANK if n % 2 else RIVAL) for n in range(50)]
    banks = [town.bank if n % 2 else town.rival for n in range(50)]
    answers = await asyncio.gather(
        *(town.approve(one, "1.00", by=bank) for one, bank in zip(asked, banks, strict=True))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 49
    for answer in answers:
        if answer.status_code == 409:
            refused(answer, "R-24", "ceiling-exceeded")
    assert await kept_and_added_up(town) == (10**9, 10**9)


async def test_r25_of_fifty_drawdowns_of_one_approval_as_many_land_as_it_holds(town: Town) -> None:
    approval = await town.approved("700.00")
    answers = await asyncio.gather(*(town.file(approval, "100.00") for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [201] * 7 + [409] * 43
    assert await kept_and_added_up(town) == (70_000, 70_000)


async def test_r25_the_same_contract_number_fifty_times_at_once_is_filed_once(town: Town) -> None:
    approval = await town.approved("5000.00")
    answers = await asyncio.gather(
        *(town.file(approval, "100.00", contract_number="HT-same") for _ in range(50))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    for answer in answers:
        if answer.status_code == 409:
            refused(answer, "R-25", "contract-number-taken")


async def test_r27_the_same_reference_fifty_times_at_once_is_one_repayment(town: Town) -> None:
    loan = await town.lend("1000.00")
    answers = await asyncio.gather(*(town.repay(loan, "10.00", reference="HK-same") for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await town.loan(loan))["outstanding"] == "990.00"


async def test_r27_fifty_repayments_at_once_never_take_more_than_is_outstanding(town: Town) -> None:
    loan = await town.lend("70.00")
    answers = await asyncio.gather(*(town.repay(loan, "10.00") for _ in range(50)))
    assert [answer.status_code for answer in answers].count(201) == 7
    assert (await town.loan(loan))["outstanding"] == "0.00"
    assert await kept_and_added_up(town) == (0, 0)


async def test_r24_approvals_repayments_renewals_and_withdrawals_at_once_keep_the_sum(town: Town) -> None:
    loans = [await town.lend("100000.00") for _ in range(8)]
    approvals = [await town.approved("5000.00") for _ in range(8)]
    renewals = [await town.approved("90000.00", renews=loan["id"]) for loan in loans[:4]]
    await town.move_to(date(2026, 3, 3))
    withdrawals = (
        town.alpha.post(f"/v1/applications/{approval['id']}/withdrawal", json={}, headers=key())
        for approval in approvals[:4]
    )
    await asyncio.gather(
        *(town.repay(loan, "20000.00") for loan in loans),
        *(town.file(approval, "3000.00") for approval in approvals),
        *(town.file(renewal, "80000.00", renews=renewal["renews"]) for renewal in renewals),
        *withdrawals,
    )
    kept, added_up = await kept_and_added_up(town)
    assert kept == added_up > 0
    renewed = await town.it.announced(LoanRenewed)
    assert len(renewed) == 4
