"""A claim is submitted, returned, mended, taken back, declined (R-40 to R-42, R-49); others learn nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from shared.events import (
    ClaimDeclined,
    ClaimReturned,
    ClaimSubmitted,
    ClaimWithdrawn,
    LoanCorrected,
    RateExceptionDecided,
)
from tests.compensation.town import BANK, MATURES, OTHER_USCC, RIVAL, UNITS, Loan, Town
from tests.ground import DAY, key


async def test_r41_a_claim_states_the_loss_and_is_announced(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000, 4_500_000))
    answer = await town.claim(loan)
    assert answer.status_code == 201
    claim = answer.json()
    assert answer.headers["location"] == f"/v1/claims/{claim['id']}"
    assert claim["number"].startswith("C-2026-")
    assert (claim["principal"], claim["interest"], claim["computed_interest"]) == (
        "1000000.00",
        "45000.00",
        "45000.00",
    )
    assert claim["overdue_since"] == MATURES.isoformat()
    [told] = await town.it.announced(ClaimSubmitted)
    assert (told.claim_id.hex, told.principal, told.interest) == (
        claim["id"].replace("-", ""),
        100_000_000,
        4_500_000,
    )
    assert (told.claimed_on, told.institution_id, told.measures) == (DAY, BANK, "2022-06-26")


@pytest.mark.parametrize(
    ("principal", "interest", "status"),
    [
        pytest.param("1000000.00", "45000.00", 201, id="R-41 as computed"),
        pytest.param("1000000.00", "0.00", 201, id="R-41 less interest"),
        pytest.param("1000000.00", "45000.01", 409, id="R-41 more interest"),
        pytest.param("999999.99", "45000.00", 409, id="R-41 other principal"),
    ],
)
async def test_r41_the_stated_figures_hold_against_the_record(
    town: Town, principal: str, interest: str, status: int
) -> None:
    loan = await town.overdue(Loan(100_000_000, 4_500_000))
    answer = await town.claim(loan, principal=principal, interest=interest)
    assert answer.status_code == status
    if status == 409:
        problem = answer.json()
        assert (problem["rule"], problem["type"]) == ("R-41", "/problems/figures-differ")
        assert (problem["computed_principal"], problem["computed_interest"]) == ("1000000.00", "45000.00")


async def test_r40_an_unreported_loan_is_refused(town: Town) -> None:
    loan = Loan(100_000_000)
    await town.it.hear(loan.filed())
    answer = await town.claim(loan)
    assert (answer.status_code, answer.json()["rule"]) == (409, "R-31")


async def test_r32_a_cured_loan_is_refused(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000))
    await town.it.hear(loan.cured())
    answer = await town.claim(loan)
    assert (answer.status_code, answer.json()["rule"]) == (409, "R-30")


async def test_r32_a_cure_that_is_reversed_counts_from_the_same_d_with_the_same_report(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000, 100))
    repaid = loan.repaid(50_000_000, 100)
    await town.it.hear(repaid, loan.cured())
    loan.overdue_since = MATURES
    loan.unpaid_interest = 100
    await town.it.hear(loan.reversed(repaid))
    assert (await town.claim(loan)).status_code == 201


async def test_r22_a_rate_exception_is_covered_once_the_office_accepts(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000, status="exception_pending"))
    refused = await town.claim(loan)
    assert (refused.status_code, refused.json()["rule"]) == (409, "R-22")
    await town.it.hear(RateExceptionDecided(**loan.about(), accepted=True))
    assert (await town.claim(loan)).status_code == 201


async def test_r40_too_early_names_the_first_possible_day(town: Town) -> None:
    due = DAY - timedelta(days=90)
    loan = await town.overdue(Loan(100_000_000, matures_on=due, overdue_since=due))
    answer = await town.claim(loan)
    assert (answer.status_code, answer.json()["rule"]) == (409, "R-40")
    assert answer.json()["first_possible_on"] == (due + timedelta(days=91)).isoformat()
    assert answer.json()["type"] == "/problems/claim-too-early"


async def test_r40_fifty_claims_at_once_are_one_live_claim(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000))
    answers = await asyncio.gather(*(town.claim(loan) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    assert {a.json()["type"] for a in answers if a.status_code == 409} == {"/problems/already-claimed"}


async def test_a_claim_waits_for_a_report_still_on_its_way(town: Town) -> None:
    loan = Loan(100_000_000)
    claiming = asyncio.create_task(town.claim(loan))
    await asyncio.sleep(0)
    await town.it.hear(loan.filed())
    await town.it.hear(loan.reported())
    assert (await claiming).status_code == 201


async def test_another_bank_s_loan_looks_as_if_it_did_not_exist(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000))
    theirs = await town.rival.post("/v1/claims", json=town.loss_of(loan))
    none = await town.rival.post("/v1/claims", json=town.loss_of(loan) | {"loan_id": str(uuid4())})
    assert theirs.status_code == none.status_code == 404
    assert theirs.json() == none.json()


async def test_nobody_sees_or_touches_another_party_s_claim(town: Town) -> None:
    claim_id = await town.claimed(await town.overdue(Loan(100_000_000)))
    stranger = town.it.client("enterprise", party=OTHER_USCC)
    for client in (town.rival, town.guarantor, stranger):
        theirs = await client.get(f"/v1/claims/{claim_id}")
        none = await client.get(f"/v1/claims/{uuid4()}")
        assert theirs.status_code == none.status_code == 404
        assert theirs.json()["detail"] == none.json()["detail"]
        assert (await client.get("/v1/claims")).json()["items"] == []
    for path in ("withdrawal", "credit-record", "recoveries", "write-off"):
        body = {
            "credit-record": {"recorded_on": "2026-03-02", "reference": "x"},
            "recoveries": {"gross": "1.00", "costs": "0.00", "received_on": "2026-03-02", "voucher": "x"},
            "write-off": {"ground": "bankruptcy", "evidence_number": "x", "evidence_date": "2026-03-02"},
        }.get(path)
        answer = await town.rival.post(f"/v1/claims/{claim_id}/{path}", json=body)
        assert answer.status_code == 404, path
    payment = {"paid_on": "2026-03-02", "voucher": "x"}
    assert (await town.guarantor.post(f"/v1/claims/{claim_id}/payments", json=payment)).status_code == 404
    assert (await town.bank.get(f"/v1/claims/{claim_id}")).status_code == 200
    assert (await town.enterprise.get(f"/v1/claims/{claim_id}")).json()["headroom"] is None


async def test_r49_a_returned_claim_is_mended_and_voted_on_anew(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000, 4_500_000))
    claim_id = await town.claimed(loan)
    await town.vote(claim_id, "kjj")
    returned = await town.office.post(f"/v1/claims/{claim_id}/return", json={"reasons": "缺材料"})
    assert (returned.json()["state"], returned.json()["reason"]) == ("returned", "缺材料")
    assert [ballot["choice"] for ballot in returned.json()["ballots"]] == [None] * 7
    assert (await town.vote(claim_id, "kjj")).status_code == 409
    loss = town.loss_of(loan)
    loss.pop("loan_id")
    mended = await town.bank.post(
        f"/v1/claims/{claim_id}/resubmission", json=loss | {"interest": "44000.00", "statement": "已补"}
    )
    assert (mended.json()["state"], mended.json()["figures"]) == ("submitted", 2)
    assert (mended.json()["number"], mended.json()["interest"]) == (returned.json()["number"], "44000.00")
    trace = mended.json()["trace"]
    assert [step["move"] for step in trace] == ["submit", "ballot:approve", "return", "resubmit"]
    assert trace[2]["facts"]["ballots"] == [{"unit": "kjj", "choice": "approve", "comment": ""}]
    assert len(await town.it.announced(ClaimReturned)) == 1
    assert len(await town.it.announced(ClaimSubmitted)) == 2


@pytest.mark.parametrize("returned", [False, True])
async def test_r49_the_institution_withdraws_until_the_approval(town: Town, returned: bool) -> None:
    loan = await town.overdue(Loan(100_000_000))
    claim_id = await town.claimed(loan)
    if returned:
        await town.office.post(f"/v1/claims/{claim_id}/return", json={"reasons": "缺材料"})
    withdrawn = await town.bank.post(f"/v1/claims/{claim_id}/withdrawal")
    assert (withdrawn.json()["state"], withdrawn.json()["closed_on"]) == ("withdrawn", DAY.isoformat())
    assert len(await town.it.announced(ClaimWithdrawn)) == 1
    assert (await town.claim(loan)).status_code == 201


async def test_r49_an_approved_claim_is_not_withdrawn_nor_returned(town: Town) -> None:
    await town.fund()
    claim = await town.approved(await town.overdue(Loan(100_000_000)))
    withdrawn = await town.bank.post(f"/v1/claims/{claim['id']}/withdrawal")
    returned = await town.office.post(f"/v1/claims/{claim['id']}/return", json={"reasons": "缺材料"})
    assert withdrawn.status_code == returned.status_code == 409
    assert withdrawn.json()["rule"] == returned.json()["rule"] == "R-49"


async def test_r49_a_declined_claim_is_final_and_a_new_one_states_its_new_facts(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000))
    claim_id = await town.claimed(loan)
    await town.vote(claim_id, "czj", "object")
    outcome = {
        "outcome": "declined",
        "minutes_number": "3号",
        "held_on": DAY.isoformat(),
        "reason": "贷后管理缺失",
    }
    declined = await town.office.post(f"/v1/claims/{claim_id}/meeting-outcome", json=outcome)
    assert (declined.json()["state"], declined.json()["reason"]) == ("declined", "贷后管理缺失")
    [told] = await town.it.announced(ClaimDeclined)
    assert told.reason == "贷后管理缺失"
    again = await town.claim(loan)
    assert (again.status_code, again.json()["rule"]) == (409, "R-49")
    assert (await town.claim(loan, new_facts="法院已裁定破产")).status_code == 201


async def test_r29_a_corrected_rate_changes_the_figures(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000, 4_500_000))
    claim_id = await town.claimed(loan)
    loan.version += 1
    correction = LoanCorrected(
        **loan.about(),
        correction_id=uuid4(),
        field="annual_rate",
        old="4.5000",
        new="3.6000",
        position=loan.position(),
    )
    await town.it.hear(correction)
    claim = await town.shown(claim_id)
    assert (claim["interest"], claim["figures"], claim["loan"]["annual_rate"]) == ("36000.00", 2, "3.6000")


async def test_a_request_s_amounts_are_exact_strings(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000))
    for principal in (1000000, 1e6, "1e6", "1000000", "1000000.000", "-1000000.00"):
        assert (await town.claim(loan, principal=principal)).status_code == 422


async def test_the_same_key_submits_once(town: Town) -> None:
    loan, header = await town.overdue(Loan(100_000_000)), key()
    answers = [await town.bank.post("/v1/claims", json=town.loss_of(loan), headers=header) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert RIVAL != BANK
    assert len(await town.it.announced(ClaimSubmitted)) == 1


@pytest.mark.parametrize("blank", [" ", "\u3000", "\n"])
async def test_r49_blanks_are_neither_new_facts_nor_reasons(town: Town, blank: str) -> None:
    loan = await town.overdue(Loan(100_000_00))
    first = await town.claimed(loan)
    returned = await town.office.post(f"/v1/claims/{first}/return", json={"reasons": blank}, headers=key())
    assert (returned.status_code, returned.json()["errors"][0]["pointer"]) == (422, "#/reasons")
    await town.vote(first, UNITS[0], "object")
    outcome = {"outcome": "declined", "minutes_number": "3", "held_on": DAY.isoformat()}
    address = f"/v1/claims/{first}/meeting-outcome"
    assert (await town.office.post(address, json=outcome | {"minutes_number": blank})).status_code == 422
    assert (await town.office.post(address, json=outcome)).json()["state"] == "declined"
    again = await town.claim(loan, new_facts=blank)
    assert (again.status_code, again.json()["errors"][0]["pointer"]) == (422, "#/new_facts")


async def test_r49_a_claim_mended_after_the_oldest_due_was_paid_names_the_overdue_as_it_stands(
    town: Town,
) -> None:
    earlier = MATURES - timedelta(days=40)
    loan = await town.overdue(Loan(100_000_00, 450_00, overdue_since=earlier))
    claim = (await town.claim(loan)).json()
    assert claim["overdue_since"] == earlier.isoformat()
    await town.office.post(f"/v1/claims/{claim['id']}/return", json={"reasons": "缺材料"}, headers=key())
    loan.overdue_since = MATURES
    await town.it.hear(loan.repaid(0, 100_00))
    loss = {"principal": "100000.00", "interest": "350.00"}
    mended = await town.bank.post(f"/v1/claims/{claim['id']}/resubmission", json=loss, headers=key())
    assert (mended.status_code, mended.json()["overdue_since"]) == (200, MATURES.isoformat())
