"""Paid, recovered, written off, registered (R-47, R-51, R-60, R-61)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from shared.events import (
    CompensationPaid,
    CreditRecordConfirmed,
    LossWrittenOff,
    RecoveryDistributed,
    RecoveryRecorded,
)
from tests.compensation.town import Loan, Town
from tests.ground import DAY, key


async def guarantee_claim(town: Town) -> dict[str, Any]:
    await town.fund()
    return await town.approved(await town.overdue(Loan(100_000_000, security="guarantee")))


async def test_r47_both_payments_make_it_paid(town: Town) -> None:
    claim = await guarantee_claim(town)
    await town.it.move_to(DAY + timedelta(days=10))
    first = await town.pay(claim, "guarantor", paid_on=(DAY + timedelta(days=3)).isoformat())
    assert first.json()["state"] == "approved"
    assert await town.it.announced(CompensationPaid) == []
    second = await town.pay(claim, "fund", paid_on=(DAY + timedelta(days=9)).isoformat())
    assert (second.json()["state"], second.json()["paid_on"]) == ("paid", "2026-03-11")
    [told] = await town.it.announced(CompensationPaid)
    assert (told.fund_paid, told.guarantor_paid) == (40_000_000, 40_000_000)
    assert (told.fund_paid_on, told.paid_on) == (date(2026, 3, 11), date(2026, 3, 11))


@pytest.mark.parametrize("payer", ["fund", "guarantor"])
async def test_r47_paid_twice_is_refused(town: Town, payer: str) -> None:
    claim = await guarantee_claim(town)
    assert (await town.pay(claim, payer)).status_code == 201
    again = await town.pay(claim, payer)
    assert (again.status_code, again.json()["rule"]) == (409, "R-47")
    assert len((await town.shown(claim["id"]))["payments"]) == 1


async def test_r47_a_payment_lies_between_approval_and_today(town: Town) -> None:
    claim = await guarantee_claim(town)
    for day in (DAY - timedelta(days=1), DAY + timedelta(days=1)):
        answer = await town.pay(claim, paid_on=day.isoformat())
        assert (answer.status_code, answer.json()["rule"]) == (422, "R-47")


async def test_what_is_wrong_with_a_member_is_said_in_the_reader_s_language(town: Town) -> None:
    await town.fund()
    claim = await town.approved(await town.overdue(Loan(100_000_000)))
    body = {"paid_on": (DAY + timedelta(days=1)).isoformat(), "voucher": "1"}
    for language, words in (("zh", "日期须在"), ("en", "The day must lie")):
        finance = town.it.client("finance", "member", party="czj", language=language)
        answer = await finance.post(f"/v1/claims/{claim['id']}/payments", json=body)
        assert answer.json()["errors"][0]["detail"].startswith(words)


async def test_r47_nothing_is_paid_before_the_approval(town: Town) -> None:
    await town.fund()
    claim_id = await town.claimed(await town.overdue(Loan(100_000_000)))
    assert (await town.pay({"id": claim_id})).status_code == 409


async def test_r47_the_deadline_is_watched_and_is_no_bar(town: Town) -> None:
    claim = await guarantee_claim(town)
    await town.it.move_to(date(2026, 5, 1))
    assert (await town.shown(claim["id"]))["payout_late"] is False
    await town.it.move_to(date(2026, 5, 2))
    assert (await town.shown(claim["id"]))["payout_late"] is True
    assert (await town.pay(claim, paid_on="2026-05-02")).status_code == 201


async def test_r47_another_guarantor_cannot_pay(town: Town) -> None:
    claim = await guarantee_claim(town)
    other = town.it.client("guarantor", party="00000000-0000-0000-0000-000000000009")
    body = {"paid_on": DAY.isoformat(), "voucher": "x"}
    assert (await other.post(f"/v1/claims/{claim['id']}/payments", json=body)).status_code == 404
    assert (await town.bank.post(f"/v1/claims/{claim['id']}/payments", json=body)).status_code == 403


async def test_r60_a_recovery_before_the_payout_waits_and_is_shared_when_it_is_complete(town: Town) -> None:
    claim = await guarantee_claim(town)
    waiting = (await town.recover(claim, "100000.00")).json()
    assert (waiting["state"], waiting["fund"]) == ("recorded", None)
    early = await town.receive(waiting)
    assert (early.status_code, early.json()["rule"]) == (409, "R-60")
    await town.pay(claim)
    assert await town.it.announced(RecoveryDistributed) == []
    await town.pay(claim, "guarantor")
    [told] = await town.it.announced(RecoveryDistributed)
    assert (told.net, told.fund, told.guarantor, told.institution) == (
        10_000_000,
        4_000_000,
        4_000_000,
        2_000_000,
    )
    kinds = [type(event) for event in await town.it.announced()]
    assert kinds.index(RecoveryRecorded) < kinds.index(CompensationPaid) < kinds.index(RecoveryDistributed)


async def test_r60_shares_stand_open_until_their_receipt_is_confirmed(town: Town) -> None:
    claim = await guarantee_claim(town)
    await town.pay(claim)
    await town.pay(claim, "guarantor")
    recovery = (await town.recover(claim, "105000.00", "5000.00")).json()
    assert recovery["open_for"] == ["fund", "guarantor"]
    before = await town.balances()
    await town.receive(recovery, "guarantor")
    assert await town.balances() == before
    done = (await town.receive(recovery)).json()
    assert (done["open_for"], [r["amount"] for r in done["receipts"]]) == ([], ["40000.00", "40000.00"])
    after = await town.balances()
    assert (after["recovered"], after["available"]) == ("40000.00", "49640000.00")
    assert (await town.receive(recovery)).status_code == 409


async def test_r60_costs_above_the_gross_are_owed_and_leave_the_fund_when_paid(town: Town) -> None:
    await town.fund()
    claim = await town.paid(await town.overdue(Loan(100_000_000)))
    recovery = (await town.recover(claim, "1000.00", "11000.00")).json()
    assert (recovery["net"], recovery["fund"], recovery["institution"]) == (
        "-10000.00",
        "-6000.00",
        "-4000.00",
    )
    assert recovery["open_for"] == ["fund"]
    await town.receive(recovery)
    balances = await town.balances()
    assert (balances["paid"], balances["available"]) == ("606000.00", "49394000.00")
    back = (await town.recover(claim, "2000000.00")).json()
    assert (back["fund"], back["institution"]) == ("606000.00", "1394000.00")


async def test_r60_the_excess_stays_with_the_institution(town: Town) -> None:
    await town.fund()
    claim = await town.paid(await town.overdue(Loan(100_000_000)))
    first = (await town.recover(claim, "900000.00")).json()
    second = (await town.recover(claim, "900000.00")).json()
    assert (first["fund"], first["institution"]) == ("540000.00", "360000.00")
    assert (second["fund"], second["institution"]) == ("60000.00", "840000.00")


async def test_r60_the_same_voucher_twice_is_one_recovery(town: Town) -> None:
    await town.fund()
    claim = await town.paid(await town.overdue(Loan(100_000_000)))
    body = {"gross": "1.00", "costs": "0.00", "received_on": DAY.isoformat(), "voucher": "执1"}
    answers = [
        await town.bank.post(f"/v1/claims/{claim['id']}/recoveries", json=body, headers=key())
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 409]
    assert answers[1].json()["rule"] == "R-60"


async def test_r60_before_the_approval_money_is_no_recovery(town: Town) -> None:
    claim = {"id": await town.claimed(await town.overdue(Loan(100_000_000))), "institution_id": "x"}
    body = {"gross": "1.00", "costs": "0.00", "received_on": DAY.isoformat(), "voucher": "执1"}
    answer = await town.bank.post(f"/v1/claims/{claim['id']}/recoveries", json=body)
    assert (answer.status_code, answer.json()["rule"]) == (409, "R-60")


async def test_r51_the_credit_record_is_an_open_duty_until_done(town: Town) -> None:
    await town.fund()
    loan = await town.overdue(Loan(100_000_000))
    claim_id = await town.claimed(loan)
    body = {"recorded_on": DAY.isoformat(), "reference": "ZX-2026-0088"}
    address = f"/v1/claims/{claim_id}/credit-record"
    early = await town.bank.post(address, json=body)
    assert (early.status_code, early.json()["rule"]) == (409, "R-51")
    await town.approve(claim_id)
    assert (await town.shown(claim_id))["credit_record_open"] is True
    open_duties = (await town.bank.get("/v1/claims", params={"open": "credit_record"})).json()["items"]
    assert [item["id"] for item in open_duties] == [claim_id]
    done = await town.bank.post(address, json=body)
    assert (done.json()["credit_record_open"], done.json()["credit_reference"]) == (False, "ZX-2026-0088")
    assert len(await town.it.announced(CreditRecordConfirmed)) == 1
    assert (await town.bank.post(address, json=body)).status_code == 409


async def write_off(town: Town, claim: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"ground": "bankruptcy", "evidence_number": "（2026）破1号", "evidence_date": DAY.isoformat()}
    return await town.bank.post(f"/v1/claims/{claim['id']}/write-off", json=body | more, headers=key())


async def decide(town: Town, row: dict[str, Any], decision: str = "approved") -> httpx.Response:
    body = {"decision": decision, "reason": ""}
    return await town.finance.post(f"/v1/write-offs/{row['id']}/decision", json=body, headers=key())


async def test_r61_the_final_loss_is_written_off_once_finance_approves(town: Town) -> None:
    await town.fund()
    claim = await town.paid(await town.overdue(Loan(100_000_000)))
    recovery = (await town.recover(claim, "100000.00")).json()
    asked = (await write_off(town, claim)).json()
    assert (asked["state"], asked["fund"], asked["institution"]) == ("requested", "540000.00", "360000.00")
    waits = await decide(town, asked)
    assert (waits.status_code, waits.json()["recoveries"]) == (409, [recovery["number"]])
    await town.receive(recovery)
    done = await decide(town, asked)
    assert (done.json()["state"], done.json()["fund"]) == ("approved", "540000.00")
    assert (await town.shown(claim["id"]))["state"] == "written_off"
    balances = await town.balances()
    assert (balances["paid"], balances["written_off"]) == ("600000.00", "540000.00")
    [told] = await town.it.announced(LossWrittenOff)
    assert (told.ground, told.fund, told.guarantor, told.institution) == (
        "bankruptcy",
        54_000_000,
        0,
        36_000_000,
    )
    assert (await decide(town, asked)).status_code == 409
    assert (await write_off(town, claim)).status_code == 409


async def test_r61_a_later_recovery_is_still_shared(town: Town) -> None:
    await town.fund()
    claim = await town.paid(await town.overdue(Loan(100_000_000)))
    await decide(town, (await write_off(town, claim)).json())
    recovery = (await town.recover(claim, "1000.00")).json()
    assert (recovery["state"], recovery["fund"]) == ("shared", "600.00")
    assert (await town.receive(recovery)).status_code == 201


async def test_r61_a_declined_request_may_be_made_anew(town: Town) -> None:
    await town.fund()
    claim = await town.paid(await town.overdue(Loan(100_000_000)))
    asked = (await write_off(town, claim)).json()
    assert (await write_off(town, claim)).json()["rule"] == "R-61"
    assert (await decide(town, asked, "declined")).json()["state"] == "declined"
    assert (await town.shown(claim["id"]))["state"] == "paid"
    assert (await write_off(town, claim)).status_code == 201


async def test_r61_needs_a_paid_claim_and_evidence_that_exists(town: Town) -> None:
    await town.fund()
    claim = await town.approved(await town.overdue(Loan(100_000_000)))
    assert (await write_off(town, claim)).json()["rule"] == "R-61"
    await town.pay(claim)
    tomorrow = (DAY + timedelta(days=1)).isoformat()
    assert (await write_off(town, claim, evidence_date=tomorrow)).status_code == 422
    assert (await write_off(town, claim, ground="tired")).status_code == 422
