"""The worked examples of the rule book that are compensation's, to the fen, through HTTP."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from services.compensation.app import SERVICE
from shared.events import ClaimApproved, CompensationPaid, RecoveryDistributed
from tests.compensation.town import Loan, Town
from tests.ground import Databases, alone


async def test_r42_example_1_a_guarantee_loan_is_shared_4_4_2_to_the_fen(town: Town) -> None:
    await town.fund()
    loan = await town.overdue(Loan(300_000_001, 4_567_893, "guarantee"))
    claim = await town.approved(loan)
    assert claim["split"] == {
        "fund_principal": "1200000.00",
        "fund_interest": "18271.57",
        "fund": "1218271.57",
        "guarantor_principal": "1200000.00",
        "guarantor_interest": "18271.57",
        "guarantor": "1218271.57",
        "institution_principal": "600000.01",
        "institution_interest": "9135.79",
        "institution": "609135.80",
    }
    assert claim["total"] == "3045678.94"
    assert claim["cut"] == "0.00"
    assert claim["payout_due_on"] == "2026-05-01"
    await town.pay(claim)
    paid = (await town.pay(claim, "guarantor")).json()
    assert paid["state"] == "paid"
    [told] = await town.it.announced(ClaimApproved)
    assert told.split.fund_interest == told.split.guarantor_interest == 1_827_157
    [done] = await town.it.announced(CompensationPaid)
    assert (done.fund_paid, done.guarantor_paid) == (121_827_157, 121_827_157)


async def test_r40_example_3_a_claim_is_possible_from_the_30th_of_december(databases: Databases) -> None:
    due = date(2022, 9, 30)
    async with alone(databases, SERVICE, today=date(2022, 12, 29)) as it:
        town = Town(it)
        loan = Loan(100_000_000, 4_500_000, disbursed_on=due - timedelta(days=360), overdue_since=due)
        loan.steps, loan.disbursed_on, loan.matures_on = (
            [(date(2022, 7, 1), 100_000_000)],
            date(2022, 7, 1),
            due,
        )
        loan.received, loan.unpaid_interest = 0, 1_137_500  # 91 days at 4.5 %
        await town.overdue(loan)
        early = await town.claim(loan)
        assert early.status_code == 409
        assert (early.json()["rule"], early.json()["first_possible_on"]) == ("R-40", "2022-12-30")
        await it.move_to(date(2022, 12, 30))
        assert (await town.claim(loan)).status_code == 201


async def worked_example_4(town: Town) -> dict[str, Any]:
    """9,700,000.00 cleared in the year, then a credit loan's loss of 1,000,000.00; both paid."""
    await town.fund()
    await town.paid(await town.overdue(Loan(1_616_666_667)))  # 60 % is 9,700,000.00
    return await town.paid(await town.overdue(Loan(100_000_000)))


async def test_r43_example_4_the_cap_cuts_600000_to_300000(town: Town) -> None:
    claim = await worked_example_4(town)
    assert (claim["split"]["fund"], claim["cut"], claim["split"]["institution"]) == (
        "300000.00",
        "300000.00",
        "700000.00",
    )


async def test_r60_example_4_a_recovery_after_a_cut_is_shared_in_what_was_borne(town: Town) -> None:
    claim = await worked_example_4(town)
    recovery = await town.recover(claim, "105000.00", "5000.00")
    assert recovery.status_code == 201, recovery.text
    assert (recovery.json()["fund"], recovery.json()["institution"]) == ("30000.00", "70000.00")
    [told] = await town.it.announced(RecoveryDistributed)
    assert (told.net, told.fund, told.guarantor, told.institution) == (10_000_000, 3_000_000, 0, 7_000_000)
