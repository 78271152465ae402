"""Repayments, reversals, settlement (R-27), and what a claim makes of them (R-49, R-60)."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from shared.events import (
    ClaimCancelled,
    CompensationPaid,
    LoanSettled,
    OverdueCured,
    RepaymentRecorded,
    RepaymentReversed,
)
from tests.ground import DAY, key
from tests.lending.town import Town, about_claim, claim_approved, done, refused

APRIL = date(2026, 4, 2)


async def reverse(town: Town, repayment: dict[str, Any], reference: str = "CZ-1") -> httpx.Response:
    path = f"/v1/loans/{repayment['loan_id']}/repayments/{repayment['id']}/reversal"
    return await town.bank.post(path, json={"reference": reference, "reason": "记错"}, headers=key())


async def test_r27_each_kind_pays_its_oldest_dues_first(town: Town) -> None:
    loan = await town.lend("1200.00", repayment_method="equal_principal")
    await town.move_to(date(2026, 5, 2))
    first, second, *_ = await town.dues(loan)
    assert (first["principal"], first["interest"]) == ("100.00", "3.72")
    done(await town.repay(loan, "150.00", "5.00", on=APRIL))
    first, second, *_ = await town.dues(loan)
    assert (first["principal_paid"], first["interest_paid"]) == ("100.00", "3.72")
    assert (second["principal_paid"], second["interest_paid"]) == ("50.00", "1.28")
    assert (await town.loan(loan))["outstanding"] == "1050.00"
    assert await town.room() == "9998950.00"


async def test_r27_the_position_told_is_the_position_shown(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(APRIL)
    done(await town.repay(loan, "400.00", "3.10", on=date(2026, 3, 12)))
    (told,) = await town.it.announced(RepaymentRecorded)
    shown = done(await town.office.get(f"/v1/loans/{loan['id']}/schedule"))
    assert told.position.model_dump(mode="json")["dues"] == shown["dues"]
    assert told.position.model_dump(mode="json")["steps"] == shown["steps"]
    assert shown["steps"] == [
        {"from_day": "2026-03-02", "outstanding": "1000.00"},
        {"from_day": "2026-03-12", "outstanding": "600.00"},
    ]
    # 1,000.00 at 3.60 %: 0.10 a day for 10 days, then 0.06 a day for 21 days.
    assert shown["dues"][0]["interest"] == "2.26"
    assert (told.position.version, told.position.interest_received) == (2, 310)


@pytest.mark.parametrize(
    ("change", "rule", "kind"),
    [
        ({"principal": "1000.01"}, "R-27", "more-than-outstanding"),
        ({"value_date": "2026-03-01"}, "R-27", "value-date-impossible"),
        ({"value_date": "2026-03-03"}, "R-27", "value-date-impossible"),
    ],
)
async def test_r27_what_cannot_be_a_repayment_is_refused_and_changes_nothing(
    town: Town, change: dict[str, str], rule: str, kind: str
) -> None:
    loan = await town.lend("1000.00")
    body = {"reference": "HK", "principal": "1.00", "interest": "0.00", "value_date": "2026-03-02"}
    answer = await town.bank.post(f"/v1/loans/{loan['id']}/repayments", json=body | change, headers=key())
    refused(answer, rule, kind)
    assert (await town.loan(loan))["version"] == 1
    assert done(await town.bank.get(f"/v1/loans/{loan['id']}/repayments"))["items"] == []


async def test_r27_nothing_received_is_no_repayment(town: Town) -> None:
    loan = await town.lend("1000.00")
    assert (await town.repay(loan, "0.00", "0.00")).status_code == 422
    assert (await town.repay(loan, "1.00", reference=" ")).status_code == 422


async def test_r27_the_same_reference_is_one_repayment_and_other_content_is_refused(town: Town) -> None:
    loan = await town.lend("1000.00")
    first = await town.repay(loan, "10.00", reference="HK")
    again = await town.repay(loan, "10.00", reference=" HK ")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    refused(await town.repay(loan, "10.01", reference="HK"), "R-27", "reference-used")
    other = await town.lend("1000.00")
    refused(await town.repay(other, "10.00", reference="HK"), "R-27", "reference-used")
    assert (await town.loan(loan))["outstanding"] == "990.00"
    assert len(await town.it.announced(RepaymentRecorded)) == 1


async def test_r27_settled_at_nothing_outstanding_and_no_interest_due(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 3, 12))
    done(await town.repay(loan, "1000.00"))
    still = await town.loan(loan)
    assert (still["state"], still["outstanding"], still["next_due_on"]) == ("active", "0.00", "2026-04-02")
    done(await town.repay(loan, "0.00", "1.00"))
    settled = await town.loan(loan)
    assert (settled["state"], settled["settled_on"]) == ("settled", "2026-03-12")
    (told,) = await town.it.announced(LoanSettled)
    assert (told.position.outstanding, told.position.version) == (0, 4)
    refused(await town.repay(loan, "0.00", "1.00"), "R-27", "illegal-move")


async def test_r27_a_loan_is_settled_on_the_day_its_last_money_came_whatever_is_posted_last(
    town: Town,
) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 3, 12))
    done(await town.repay(loan, "1000.00", on=date(2026, 3, 12)))
    done(await town.repay(loan, "0.00", "1.00", on=date(2026, 3, 5)))
    assert (await town.loan(loan))["settled_on"] == "2026-03-12"
    assert [e.settled_on for e in await town.it.announced(LoanSettled)] == [date(2026, 3, 12)]


async def test_r27_a_reversal_is_the_negative_twin_and_history_reads_as_before(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(APRIL)
    before = await town.dues(loan)
    repayment = done(await town.repay(loan, "400.00", "2.26", on=date(2026, 3, 12)))
    assert await town.room() == "9999400.00"
    twin = done(await reverse(town, repayment))
    assert (twin["principal"], twin["interest"], twin["value_date"]) == ("-400.00", "-2.26", "2026-03-12")
    assert twin["reverses"] == repayment["id"]
    assert await town.dues(loan) == before
    assert await town.room() == "9999000.00"
    listed = done(await town.bank.get(f"/v1/loans/{loan['id']}/repayments"))["items"]
    assert [row["id"] for row in listed] == [twin["id"], repayment["id"]]
    (told,) = await town.it.announced(RepaymentReversed)
    assert (told.principal, str(told.reverses)) == (-40_000, repayment["id"])
    assert [step.outstanding for step in told.position.steps] == [100_000]


async def test_r27_a_repayment_is_reversed_once_and_a_reversal_never(town: Town) -> None:
    loan = await town.lend("1000.00")
    repayment = done(await town.repay(loan, "400.00"))
    twin = done(await reverse(town, repayment))
    assert (await reverse(town, repayment)).status_code == 200
    refused(await reverse(town, repayment, "CZ-2"), "R-27", "not-reversible")
    refused(await reverse(town, twin, "CZ-3"), "R-27", "not-reversible")
    nothing = {"loan_id": loan["id"], "id": str(uuid4())}
    assert (await reverse(town, nothing, "CZ-4")).status_code == 404


async def test_r27_reversing_what_settled_a_loan_opens_it_again(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 3, 12))
    repayment = done(await town.repay(loan, "1000.00", "1.00"))
    assert (await town.loan(loan))["state"] == "settled"
    done(await reverse(town, repayment))
    opened = await town.loan(loan)
    assert (opened["state"], opened["settled_on"], opened["outstanding"]) == ("active", None, "1000.00")
    await town.move_to(date(2026, 4, 3))
    assert (await town.loan(loan))["overdue_since"] == "2026-04-02"


async def test_r27_reversing_a_surplus_leaves_a_settled_loan_settled(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 3, 12))
    twice = done(await town.repay(loan, "0.00", "1.00"))
    done(await town.repay(loan, "1000.00", "1.00"))
    await town.move_to(date(2026, 3, 13))
    done(await reverse(town, twice))
    shown = await town.loan(loan)
    assert (shown["state"], shown["settled_on"]) == ("settled", "2026-03-12")
    told = [type(e) for e in await town.it.announced() if isinstance(e, RepaymentReversed | LoanSettled)]
    assert told == [LoanSettled, RepaymentReversed, LoanSettled]


async def test_r32_a_reversal_that_undoes_a_cure_makes_the_loan_overdue_from_the_same_day(
    town: Town,
) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 4, 3))
    repayment = done(await town.repay(loan, "0.00", "3.10"))
    assert (await town.loan(loan))["state"] == "active"
    done(await reverse(town, repayment))
    await town.move_to(date(2026, 4, 4))
    again = await town.loan(loan)
    assert (again["state"], again["overdue_since"]) == ("overdue", "2026-04-02")


async def test_r60_after_the_approval_of_a_claim_only_full_settlement_is_a_repayment(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 4, 3))
    await town.it.hear(claim_approved(loan))
    assert (await town.loan(loan))["claim_state"] == "approved"
    problem = refused(await town.repay(loan, "400.00"), "R-60", "it-is-a-recovery")
    assert "recovery" in problem["detail"]
    refused(await town.repay(loan, "1000.00"), "R-60", "it-is-a-recovery")
    done(await town.repay(loan, "1000.00", "3.20"))
    assert (await town.loan(loan))["state"] == "settled"
    assert [e.cured_on for e in await town.it.announced(OverdueCured)] == [date(2026, 4, 3)]
    await town.it.hear(ClaimCancelled(**about_claim(loan)))
    assert (await town.loan(loan))["claim_state"] is None


async def test_r60_after_the_payout_even_full_settlement_is_a_recovery(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 4, 3))
    repayment = done(await town.repay(loan, "100.00"))
    paid = CompensationPaid(
        fund_paid=60, guarantor_paid=0, fund_paid_on=DAY, paid_on=DAY, **about_claim(loan)
    )
    await town.it.hear(claim_approved(loan), paid)
    refused(await town.repay(loan, "900.00", "3.20"), "R-60", "it-is-a-recovery")
    refused(await reverse(town, repayment), "R-27", "not-reversible")


async def test_r27_a_batch_records_each_line_by_itself(town: Town) -> None:
    loan, other = await town.lend("1000.00"), await town.lend("500.00")
    done(await town.repay(loan, "1.00", reference="HK-known"))

    def line(of: dict[str, Any], reference: str, principal: str, **more: Any) -> dict[str, Any]:
        return {
            "loan_id": of["id"],
            "reference": reference,
            "principal": principal,
            "interest": "0.00",
            "value_date": DAY.isoformat(),
        } | more

    lines = [
        line(loan, "HK-1", "600.00"),
        line(loan, "HK-2", "600.00"),
        line(other, "HK-3", "500.00"),
        line(loan, "HK-known", "1.00"),
        line(loan, "HK-4", "1.00", surprise=1),
        line({"id": str(uuid4())}, "HK-5", "1.00"),
        line(loan, "HK-1", "600.00"),
        line(loan, "HK-6", "399.00"),
    ]
    report = done(await town.bank.post("/v1/repayments/batch", json={"repayments": lines}, headers=key()))
    assert [row["outcome"] for row in report["results"]] == [
        "done",
        "refused",
        "done",
        "known",
        "refused",
        "refused",
        "known",
        "done",
    ]
    assert [row["reference"] for row in report["results"]] == [line["reference"] for line in lines]
    assert report["results"][1]["problem"]["rule"] == "R-27"
    assert report["results"][1]["pointer"] == "#/repayments/1"
    assert report["results"][4]["problem"]["errors"][0]["pointer"] == "#/repayments/4/surprise"
    assert report["results"][5]["problem"]["status"] == 404
    assert [(await town.loan(one))["outstanding"] for one in (loan, other)] == ["0.00", "0.00"]
    assert await town.room() == "10000000.00"
    again = done(await town.bank.post("/v1/repayments/batch", json={"repayments": lines}, headers=key()))
    assert (again["done"], again["known"]) == (0, 5)


async def test_r27_two_thousand_lines_are_one_batch_and_more_than_ten_thousand_none(town: Town) -> None:
    loans = [await town.lend("1000.00") for _ in range(20)]
    lines = [
        {
            "loan_id": loans[n % 20]["id"],
            "reference": f"HK-{n}",
            "principal": "0.10",
            "interest": "0.00",
            "value_date": DAY.isoformat(),
        }
        for n in range(2_000)
    ]
    report = done(await town.bank.post("/v1/repayments/batch", json={"repayments": lines}, headers=key()))
    assert (report["done"], report["refused"]) == (2_000, 0)
    assert {(await town.loan(loan))["outstanding"] for loan in loans} == {"990.00"}
    assert (await town.loan(loans[0]))["version"] == 101
    too_many = {"repayments": lines[:1] * 10_001}
    assert (await town.bank.post("/v1/repayments/batch", json=too_many, headers=key())).status_code == 422


async def test_r27_another_institutions_loan_is_answered_like_one_that_does_not_exist(town: Town) -> None:
    loan = await town.lend("1000.00")
    answer = await town.repay(loan, "1.00", by=town.rival)
    nobody = await town.repay({"id": str(uuid4())}, "1.00", by=town.rival)
    assert answer.status_code == nobody.status_code == 404
    assert answer.json() | {"instance": ""} == nobody.json() | {"instance": ""}
    assert UUID(loan["id"])


async def test_r24_a_reversal_states_a_fact_and_the_next_approval_finds_the_room_gone(town: Town) -> None:
    loan = await town.lend("10000000.00")
    repayment = done(await town.repay(loan, "4000000.00"))
    await town.lend("4000000.00")
    assert await town.room() == "0.00"
    done(await reverse(town, repayment))
    assert (await town.loan(loan))["outstanding"] == "10000000.00"
    assert await town.room() == "0.00"
    refused(await town.approve(await town.apply("0.01"), "0.01"), "R-24", "ceiling-exceeded")
