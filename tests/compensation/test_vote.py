"""The conference decides on a claim: ballots, the meeting, what the voters see (R-45, R-43, R-44)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from shared.events import ClaimApproved, CompensationPaid
from tests.compensation.town import RIVAL, UNITS, Loan, Town
from tests.ground import DAY


def meeting(outcome: str = "approved", held_on: date = DAY) -> dict[str, Any]:
    return {"outcome": outcome, "minutes_number": "平科贷会〔2026〕3号", "held_on": held_on.isoformat()}


async def test_r45_seven_approvals_approve_and_six_do_not(town: Town) -> None:
    await town.fund()
    claim_id = await town.claimed(await town.overdue(Loan(100_000_000)))
    for unit in UNITS[:6]:
        assert (await town.vote(claim_id, unit)).json()["state"] == "submitted"
    assert await town.it.announced(ClaimApproved) == []
    assert (await town.vote(claim_id, UNITS[6])).json()["state"] == "approved"
    [told] = await town.it.announced(ClaimApproved)
    assert (told.approved_on, told.payout_due_on) == (DAY, DAY + timedelta(days=60))
    assert (await town.vote(claim_id, UNITS[0])).json()["rule"] == "R-45"


@pytest.mark.parametrize("choice", ["object", "meet"])
async def test_r45_any_objection_waits_for_the_meeting(town: Town, choice: str) -> None:
    await town.fund()
    claim_id = await town.claimed(await town.overdue(Loan(100_000_000)))
    early = await town.office.post(f"/v1/claims/{claim_id}/meeting-outcome", json=meeting())
    assert (early.status_code, early.json()["rule"]) == (409, "R-45")
    assert (await town.vote(claim_id, "czj", choice, comment="请说明")).json()["state"] == "meeting"
    for unit in UNITS:
        if unit != "czj":
            assert (await town.vote(claim_id, unit)).json()["state"] == "meeting"
    decided = await town.office.post(f"/v1/claims/{claim_id}/meeting-outcome", json=meeting())
    assert (decided.json()["state"], decided.json()["minutes_number"]) == ("approved", "平科贷会〔2026〕3号")


async def test_r45_a_ballot_may_be_changed_until_the_case_closes(town: Town) -> None:
    await town.fund()
    claim_id = await town.claimed(await town.overdue(Loan(100_000_000)))
    await town.vote(claim_id, "czj", "object")
    assert (await town.vote(claim_id, "czj", "approve")).json()["state"] == "submitted"
    assert (await town.approve(claim_id)).json()["state"] == "approved"


async def test_r45_a_meeting_is_not_in_the_future_nor_before_the_figures(town: Town) -> None:
    await town.fund()
    claim_id = await town.claimed(await town.overdue(Loan(100_000_000)))
    await town.vote(claim_id, "czj", "meet")
    for held_on in (DAY + timedelta(days=1), DAY - timedelta(days=1)):
        answer = await town.office.post(
            f"/v1/claims/{claim_id}/meeting-outcome", json=meeting(held_on=held_on)
        )
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/held_on")


async def test_r43_the_year_is_that_of_the_meeting_that_approved(town: Town) -> None:
    await town.fund()
    await town.it.move_to(date(2026, 12, 30))
    claim_id = await town.claimed(await town.overdue(Loan(100_000_000)))
    await town.vote(claim_id, "czj", "meet")
    await town.it.move_to(date(2027, 1, 4))
    outcome = meeting(held_on=date(2026, 12, 31))
    decided = (await town.office.post(f"/v1/claims/{claim_id}/meeting-outcome", json=outcome)).json()
    assert decided["approved_on"] == "2026-12-31"
    assert decided["headroom"] == {
        "year": 2026,
        "cap": "10000000.00",
        "cleared": "600000.00",
        "room": "9400000.00",
    }
    other = await town.approved(await town.overdue(Loan(100_000_000)))
    assert (other["headroom"]["year"], other["headroom"]["cleared"]) == (2027, "600000.00")


async def test_r31_r45_voters_see_loan_reports_loss_shares_and_room(town: Town) -> None:
    await town.fund()
    await town.approved(await town.overdue(Loan(1_616_666_667)))
    loan = Loan(100_000_000, 4_500_000)
    await town.it.hear(loan.filed(), loan.reported(late=3))
    claim_id = await town.claimed(loan)
    await town.vote(claim_id, "rcb", "approve", comment="同意")
    seen = (await town.members["kjj"].get(f"/v1/claims/{claim_id}")).json()
    [report] = seen["reports"]
    assert (report["on_time"], report["working_days_late"]) == (False, 3)
    assert (seen["loan"]["annual_rate"], seen["loan"]["outstanding"]) == ("4.5000", "1000000.00")
    assert (seen["total"], seen["split"]["fund"], seen["cut"]) == ("1045000.00", "300000.00", "327000.00")
    assert seen["headroom"]["room"] == "300000.00"
    assert [b for b in seen["ballots"] if b["choice"]] == [
        {
            "unit": "rcb",
            "unit_name": "人才办",
            "choice": "approve",
            "comment": "同意",
            "cast_at": seen["ballots"][4]["cast_at"],
        }
    ]


async def test_r44_without_money_the_approval_is_refused_until_finance_appropriates(town: Town) -> None:
    await town.fund("599999.99")
    claim_id = await town.claimed(await town.overdue(Loan(100_000_000)))
    refused = await town.approve(claim_id)
    assert (refused.status_code, refused.json()["rule"]) == (409, "R-44")
    assert (refused.json()["available"], refused.json()["needed"]) == ("599999.99", "600000.00")
    seen = await town.shown(claim_id)
    assert (seen["state"], [b["choice"] for b in seen["ballots"]]) == ("submitted", ["approve"] * 6 + [None])
    await town.fund("0.01")
    assert (await town.vote(claim_id, UNITS[6])).json()["state"] == "approved"
    assert (await town.balances())["available"] == "0.00"


async def test_r43_a_claim_after_the_cap_is_approved_for_nothing_from_the_fund(town: Town) -> None:
    await town.fund()
    await town.approved(await town.overdue(Loan(1_666_666_667)))
    claim = await town.approved(await town.overdue(Loan(100_000_000, security="guarantee")))
    assert (claim["split"]["fund"], claim["split"]["guarantor"], claim["cut"]) == (
        "0.00",
        "400000.00",
        "400000.00",
    )
    assert (claim["state"], claim["credit_record_open"]) == ("approved", True)
    nothing = await town.pay(claim)
    assert (nothing.status_code, nothing.json()["type"]) == (409, "/problems/nothing-to-pay")
    assert (await town.pay(claim, "guarantor")).json()["state"] == "paid"
    [told] = await town.it.announced(CompensationPaid)
    assert (told.fund_paid, told.fund_paid_on, told.guarantor_paid, told.paid_on) == (
        0,
        None,
        40_000_000,
        DAY,
    )
    borne_alone = await town.approved(await town.overdue(Loan(100_000_000)))
    assert (borne_alone["state"], borne_alone["split"]["institution"]) == ("paid", "1000000.00")
    other_bank = await town.approved(await town.overdue(Loan(100_000_000, bank=RIVAL)))
    assert other_bank["split"]["fund"] == "600000.00"


async def test_r45_only_units_of_the_conference_vote(town: Town) -> None:
    claim_id = await town.claimed(await town.overdue(Loan(100_000_000)))
    body = {"choice": "approve"}
    stranger = town.it.client("member", party="nobody")
    for client, status in ((stranger, 403), (town.bank, 403), (town.office, 403), (town.auditor, 403)):
        assert (await client.post(f"/v1/claims/{claim_id}/ballots", json=body)).status_code == status
