"""The loan changes under its claim: computed anew, lapsed, cancelled, crossed (R-32, R-41, R-49)."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlmodel import col

from services.compensation.covered_loan import CoveredLoan
from shared.events import (
    ClaimApproved,
    ClaimCancelled,
    ClaimLapsed,
    ClaimRecomputed,
    RecoveryDistributed,
    RecoveryRecorded,
)
from tests.compensation.town import UNITS, Loan, Town
from tests.ground import DAY


async def test_r41_money_before_the_approval_computes_anew_and_voids_the_ballots(town: Town) -> None:
    await town.fund()
    loan = await town.overdue(Loan(100_000_000, 4_500_000))
    claim_id = await town.claimed(loan)
    for unit in UNITS[:6]:
        await town.vote(claim_id, unit, figures=1)
    await town.it.hear(loan.repaid(20_000_000, 500_000))
    claim = await town.shown(claim_id)
    assert (claim["principal"], claim["interest"], claim["figures"]) == ("800000.00", "40000.00", 2)
    assert (claim["split"]["fund"], claim["state"]) == ("504000.00", "submitted")
    assert [ballot["choice"] for ballot in claim["ballots"]] == [None] * 7
    [told] = await town.it.announced(ClaimRecomputed)
    assert (told.figures, told.principal, told.interest) == (2, 80_000_000, 4_000_000)
    assert len(claim["trace"][-1]["facts"]["ballots"]) == 6
    stale = await town.vote(claim_id, UNITS[6], figures=1)
    assert (stale.status_code, stale.json()["rule"]) == (412, "R-41")
    for unit in UNITS:
        answer = await town.vote(claim_id, unit, figures=2)
    assert answer.json()["state"] == "approved"
    [approved] = await town.it.announced(ClaimApproved)
    assert approved.principal == 80_000_000


async def test_r41_less_stated_interest_stays_less_when_computed_anew(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000, 4_500_000))
    claim_id = (await town.claim(loan, interest="30000.00")).json()["id"]
    await town.it.hear(loan.repaid(10_000_000, 500_000))
    assert (await town.shown(claim_id))["interest"] == "30000.00"
    await town.it.hear(loan.repaid(0, 1_500_000))
    assert (await town.shown(claim_id))["interest"] == "25000.00"


async def test_r41_a_reversal_computes_anew_too(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000, 4_500_000))
    claim_id = await town.claimed(loan)
    repaid = loan.repaid(20_000_000, 500_000)
    await town.it.hear(repaid)
    await town.it.hear(loan.reversed(repaid))
    claim = await town.shown(claim_id)
    assert (claim["principal"], claim["interest"], claim["figures"]) == ("1000000.00", "45000.00", 3)


async def test_r27_a_reversal_reopens_only_a_settled_loan_that_is_owed_again(town: Town) -> None:
    settled, surplus = Loan(100_000_000, overdue_since=None), Loan(100_000_000, overdue_since=None)
    renewed = Loan(100_000_000, overdue_since=None)
    for loan in (settled, surplus, renewed):
        await town.it.hear(loan.filed())
    last, twice = settled.repaid(100_000_000), surplus.repaid(0, 500_000)
    await town.it.hear(last, settled.settled(), twice, surplus.repaid(100_000_000), surplus.settled())
    interest = renewed.repaid(0, 500_000)
    await town.it.hear(interest, renewed.renewed())
    await town.it.hear(settled.reversed(last), surplus.reversed(twice), renewed.reversed(interest))
    async with town.it.running.database.reading() as session:
        rows = await session.execute(select(col(CoveredLoan.loan_id), col(CoveredLoan.state)))
        states = {row.loan_id: row.state for row in rows}
    assert [states[loan.id] for loan in (settled, surplus, renewed)] == ["open", "settled", "renewed"]


async def test_r41_a_meeting_called_on_old_figures_is_off(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000))
    claim_id = await town.claimed(loan)
    await town.vote(claim_id, "czj", "meet")
    await town.it.hear(loan.repaid(20_000_000))
    assert (await town.shown(claim_id))["state"] == "submitted"


async def test_r41_a_returned_claim_follows_the_record_as_well(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000))
    claim_id = await town.claimed(loan)
    await town.office.post(f"/v1/claims/{claim_id}/return", json={"reasons": "缺材料"})
    await town.it.hear(loan.repaid(20_000_000))
    claim = await town.shown(claim_id)
    assert (claim["state"], claim["principal"]) == ("returned", "800000.00")


@pytest.mark.parametrize("state", ["submitted", "meeting", "returned"])
async def test_r32_a_claim_on_a_cured_loan_lapses(town: Town, state: str) -> None:
    loan = await town.overdue(Loan(100_000_000))
    claim_id = await town.claimed(loan)
    if state == "meeting":
        await town.vote(claim_id, "czj", "meet")
    if state == "returned":
        await town.office.post(f"/v1/claims/{claim_id}/return", json={"reasons": "缺材料"})
    await town.it.hear(loan.repaid(50_000_000), loan.cured())
    claim = await town.shown(claim_id)
    assert (claim["state"], claim["closed_on"]) == ("lapsed", DAY.isoformat())
    assert len(await town.it.announced(ClaimLapsed)) == 1


async def test_r49_paid_in_full_before_the_approval_lapses_once(town: Town) -> None:
    await town.fund()
    loan = await town.overdue(Loan(100_000_000, 4_500_000))
    claim_id = await town.claimed(loan)
    await town.it.hear(*loan.paid_in_full())
    assert (await town.approve(claim_id)).status_code == 409
    assert (await town.shown(claim_id))["state"] == "lapsed"
    assert len(await town.it.announced(ClaimLapsed)) == 1
    assert await town.it.announced(ClaimCancelled) == []


async def test_r49_paid_in_full_after_the_approval_cancels(town: Town) -> None:
    await town.fund("1000000.00")
    loan = await town.overdue(Loan(100_000_000, 4_500_000))
    claim = await town.approved(loan)
    assert (await town.balances())["reserved"] == "627000.00"
    await town.it.hear(*loan.paid_in_full())
    seen = await town.shown(claim["id"])
    assert seen["state"] == "cancelled"
    assert (await town.balances()) == {
        "appropriated": "1000000.00",
        "recovered": "0.00",
        "available": "1000000.00",
        "reserved": "0.00",
        "paid": "0.00",
        "written_off": "0.00",
    }
    assert (seen["headroom"]["cleared"], [r["state"] for r in seen["recoveries"]]) == ("0.00", ["void"])
    assert len(await town.it.announced(ClaimCancelled)) == 1
    assert await town.it.announced(RecoveryRecorded) == await town.it.announced(RecoveryDistributed) == []
    assert (await town.pay(claim)).status_code == 409


async def test_r49_settling_and_approving_at_once_end_the_same_either_way(town: Town) -> None:
    await town.fund("100000000.00")
    for _ in range(6):
        loan = await town.overdue(Loan(100_000_000, 4_500_000))
        claim_id = await town.claimed(loan)
        for unit in UNITS[:6]:
            await town.vote(claim_id, unit)
        await asyncio.gather(town.vote(claim_id, UNITS[6]), town.it.hear(*loan.paid_in_full()))
        assert (await town.shown(claim_id))["state"] in ("lapsed", "cancelled")
    balances = await town.balances()
    assert (balances["available"], balances["reserved"]) == ("100000000.00", "0.00")


async def test_r49_when_money_and_payout_cross_the_payout_stands_and_the_money_is_shared(town: Town) -> None:
    await town.fund()
    loan = await town.overdue(Loan(100_000_000))
    claim = await town.paid(loan)
    await town.it.hear(*loan.paid_in_full())
    seen = await town.shown(claim["id"])
    assert seen["state"] == "paid"
    [recovery] = seen["recoveries"]
    assert (recovery["net"], recovery["fund"], recovery["institution"]) == (
        "1000000.00",
        "600000.00",
        "400000.00",
    )
    assert await town.it.announced(ClaimCancelled) == []


async def test_r49_half_paid_out_stands_and_the_money_is_shared_when_the_rest_is_paid(town: Town) -> None:
    await town.fund()
    loan = await town.overdue(Loan(100_000_000, security="guarantee"))
    claim = await town.approved(loan)
    await town.pay(claim)
    await town.it.hear(*loan.paid_in_full())
    assert (await town.shown(claim["id"]))["state"] == "approved"
    assert await town.it.announced(RecoveryDistributed) == []
    done = (await town.pay(claim, "guarantor")).json()
    [recovery] = done["recoveries"]
    assert (done["state"], recovery["fund"], recovery["guarantor"]) == ("paid", "400000.00", "400000.00")


async def test_r60_a_repayment_that_crossed_the_approval_is_a_recovery(town: Town) -> None:
    await town.fund()
    loan = await town.overdue(Loan(100_000_000))
    claim = await town.approved(loan)
    repaid = loan.repaid(10_000_000)
    await town.it.hear(repaid)
    assert [r["state"] for r in (await town.shown(claim["id"]))["recoveries"]] == ["recorded"]
    assert await town.it.announced(RecoveryRecorded) == []
    seen = (await town.pay(claim)).json()
    [shared] = seen["recoveries"]
    [recorded] = await town.it.announced(RecoveryRecorded)
    assert (recorded.gross, recorded.costs) == (10_000_000, 0)
    assert len(await town.it.announced(RecoveryDistributed)) == 1
    assert (seen["principal"], shared["voucher"], shared["fund"]) == (
        "1000000.00",
        repaid.reference,
        "60000.00",
    )


@pytest.mark.parametrize("paid", [False, True])
async def test_r27_a_reversed_repayment_takes_its_recovery_back(town: Town, paid: bool) -> None:
    await town.fund()
    loan = await town.overdue(Loan(100_000_000))
    claim = await (town.paid(loan) if paid else town.approved(loan))
    repaid = loan.repaid(10_000_001)
    await town.it.hear(repaid)
    await town.it.hear(loan.reversed(repaid))
    recoveries = (await town.shown(claim["id"]))["recoveries"]
    if not paid:
        assert [r["state"] for r in recoveries] == ["void"]
        return
    assert [(r["net"], r["fund"], r["institution"]) for r in recoveries] == [
        ("100000.01", "60000.01", "40000.00"),
        ("-100000.01", "-60000.01", "-40000.00"),
    ]
    assert recoveries[1]["reverses"] == recoveries[0]["id"]


async def test_a_fact_heard_twice_has_one_effect(town: Town) -> None:
    await town.fund()
    loan = await town.overdue(Loan(100_000_000))
    claim = await town.approved(loan)
    repaid = loan.repaid(10_000_000)
    await town.it.hear(repaid, repaid)
    await town.it.hear(repaid)
    assert len((await town.shown(claim["id"]))["recoveries"]) == 1


async def test_an_older_position_never_replaces_a_newer_one(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000))
    claim_id = await town.claimed(loan)
    old = loan.repaid(10_000_000)
    new = loan.repaid(10_000_000)
    await town.it.hear(new, old.model_copy(update={"event_id": uuid4()}))
    assert (await town.shown(claim_id))["principal"] == "800000.00"


async def test_r41_what_is_computed_follows_the_record_also_when_less_is_claimed(town: Town) -> None:
    """The claim stays as it was, and its ballots stand; but the voters see what is computed today."""
    loan = await town.overdue(Loan(100_000_00, 450_00))
    claim = (await town.claim(loan, interest="100.00")).json()
    await town.vote(claim["id"], UNITS[0])
    await town.it.hear(loan.repaid(0, 200_00))
    shown = await town.shown(claim["id"])
    assert (shown["interest"], shown["computed_interest"], shown["figures"]) == ("100.00", "250.00", 1)
    assert [ballot["choice"] for ballot in shown["ballots"]].count("approve") == 1
