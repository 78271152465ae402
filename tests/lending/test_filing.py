"""Filing (R-25), the rate cap (R-22), long terms (R-23), renewal (R-26): each condition by its refusal."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import uuid4

import pytest

from shared.events import GuarantorExited, LoanFiled, LoanRenewed, RateExceptionDecided
from tests.ground import DAY, key
from tests.lending.town import ALPHA, BANK, FROM, GUARANTOR, Town, done, listed, refused

REFUSED: list[tuple[dict[str, Any], str, str, int]] = [
    ({"disbursed_on": "2026-03-03"}, "R-25", "disbursement-out-of-time", 409),
    ({"disbursed_on": "2022-06-25"}, "R-25", "disbursement-out-of-time", 409),
    ({"matures_on": "2026-03-02"}, "R-25", "invalid-input", 422),
    ({"amount": "1000.01"}, "R-25", "more-than-approved", 409),
    ({"guarantor_id": str(GUARANTOR)}, "R-25", "guarantor-not-accepted", 409),
    ({"security_type": "guarantee"}, "R-25", "guarantor-not-accepted", 409),
    ({"day_count": 364}, "R-28", "invalid-input", 422),
    ({"repayment_method": "explicit"}, "R-28", "invalid-input", 422),
    (
        {"dues": [{"due_on": "2027-03-02", "principal": "1.00", "interest": "0.00"}]},
        "R-28",
        "invalid-input",
        422,
    ),
    ({"security_type": "mortgage", "annual_rate": "3.9001"}, "R-22", "rate-above-cap", 409),
    ({"security_type": "pledge", "annual_rate": "3.9001"}, "R-22", "rate-above-cap", 409),
    ({"security_type": "mortgage", "matures_on": "2028-03-02"}, "R-22", "reference-rate-unknown", 409),
    ({"renews": str(uuid4())}, "R-26", "renewal-refused", 409),
]


async def test_r25_each_condition_that_is_not_met_is_a_refusal_that_changes_nothing(town: Town) -> None:
    approval = await town.approved("1000.00")
    for change, rule, kind, status in REFUSED:
        refused(await town.file(approval, "1000.00", **change), rule, kind, status)
    assert done(await town.bank.get("/v1/loans"))["items"] == []
    assert await town.room() == "9999000.00"
    assert await town.it.announced(LoanFiled) == []
    done(await town.file(approval, "1000.00"))


@pytest.mark.parametrize(
    "body",
    [
        {"amount": 1000},
        {"amount": "1e3"},
        {"amount": "0.00"},
        {"annual_rate": "3.60001"},
        {"due_day": 32},
        {"disbursed_on": 1772409600},
        {"disbursed_on": "2026-03-02T00:00:00+08:00"},
        {"disbursed_on": "20260302"},
        {"matures_on": "2027-02-29"},
        {"contract_number": " "},
        {"rate_reason": " \u3000"},
        {"surprise": 1},
        {"first_loan": None},
    ],
)
async def test_r25_a_filing_that_is_not_well_formed_is_refused_by_the_member(
    town: Town, body: dict[str, Any]
) -> None:
    approval = await town.approved("1000.00")
    answer = await town.file(approval, "1000.00", **body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"#/{next(iter(body))}"


async def test_r25_the_enterprise_is_on_the_list_on_the_disbursement_date_not_on_the_filing(
    town: Town,
) -> None:
    approval = await town.approved("1000.00")
    await town.it.hear(listed(ALPHA, (date(2023, 1, 1), date(2026, 2, 27))))
    refused(await town.file(approval, "500.00"), "R-25", "not-listed-at-disbursement")
    done(await town.file(approval, "500.00", disbursed_on="2026-02-27"))


async def test_r13_a_guarantee_names_a_guarantor_active_on_the_disbursement_date(town: Town) -> None:
    approval = await town.approved("1000.00")
    guarantee = {"security_type": "guarantee", "guarantor_id": str(GUARANTOR)}
    loan = done(await town.file(approval, "500.00", **guarantee))
    assert loan["guarantor_name"] == "担保公司"
    left = GuarantorExited(guarantor_id=GUARANTOR, name="担保公司", effective_on=DAY, **FROM)
    await town.it.hear(left)
    refused(await town.file(approval, "500.00", **guarantee), "R-13", "guarantor-not-accepted")
    before = {"disbursed_on": "2026-03-01", "matures_on": "2027-03-01"}
    done(await town.file(approval, "500.00", **before, **guarantee))


async def test_r25_a_contract_number_is_unique_within_the_institution_only(town: Town) -> None:
    approval = await town.approved("1000.00")
    done(await town.file(approval, "500.00", contract_number="HT/甲"))
    problem = await town.file(approval, "500.00", contract_number="HT/甲")
    assert refused(problem, "R-25", "contract-number-taken")["contract_number"] == "HT/甲"
    elsewhere = await town.apply("1000.00", at=town.rival_id)
    done(await town.approve(elsewhere, "1000.00", by=town.rival))
    done(await town.file(elsewhere, "1000.00", by=town.rival, contract_number="HT/甲"))


async def test_r25_several_drawdowns_use_up_one_approval(town: Town) -> None:
    approval = await town.approved("1000.00")
    done(await town.file(approval, "300.00"))
    shown = done(await town.bank.get(f"/v1/applications/{approval['id']}"))
    assert (shown["state"], shown["unfiled"]) == ("approved", "700.00")
    done(await town.file(approval, "700.00"))
    shown = done(await town.bank.get(f"/v1/applications/{approval['id']}"))
    assert (shown["state"], shown["unfiled"]) == ("filed", "0.00")
    refused(await town.file(approval, "0.01"), "R-25", "illegal-move")
    assert await town.room() == "9999000.00"


async def test_r21_a_lapsed_approval_cannot_be_filed(town: Town) -> None:
    approval = await town.approved("1000.00")
    town.it.clock.hold(date(2026, 6, 1))
    answer = await town.file(approval, "1000.00", disbursed_on="2026-05-30")
    refused(answer, "R-21", "approval-run-out")


async def test_r25_a_first_loan_is_contradicted_by_an_earlier_scheme_loan(town: Town) -> None:
    approval = await town.approved("1000.00")
    done(await town.file(approval, "100.00", first_loan=True))
    done(await town.file(approval, "100.00", first_loan=True))
    await town.move_to(date(2026, 3, 3))
    refused(await town.file(approval, "100.00", first_loan=True), "R-25", "not-the-first-loan")
    done(await town.file(approval, "100.00", first_loan=False))


async def test_r22_worked_example_2_the_lpr_of_the_disbursement_date_decides(town: Town) -> None:
    approval = await town.approved("1000.00")
    mortgage = {"security_type": "mortgage", "annual_rate": "4.6000", "matures_on": "2023-08-10"}
    loan = done(await town.file(approval, "500.00", disbursed_on="2022-08-10", **mortgage))
    assert (loan["reference_rate"], loan["reference_tenor"], loan["state"]) == ("3.7000", "1Y", "active")
    answer = await town.file(approval, "500.00", disbursed_on="2022-08-22", **mortgage)
    problem = refused(answer, "R-22", "rate-above-cap")
    assert (problem["reference_rate"], problem["rate_cap"]) == ("3.6500", "4.5500")


async def test_r22_above_the_cap_with_a_reason_waits_for_the_office(town: Town) -> None:
    approval = await town.approved("1000.00")
    above = {"security_type": "mortgage", "annual_rate": "5.0000", "rate_reason": "抵押物处置周期长"}
    accepted, declined = [done(await town.file(approval, "500.00", **above)) for _ in range(2)]
    assert accepted["state"] == "exception_pending"
    told = await town.it.announced(LoanFiled)
    assert [event.status for event in told] == ["exception_pending"] * 2
    waiting = done(await town.office.get("/v1/loans?state=exception_pending"))["items"]
    assert {loan["id"] for loan in waiting} == {accepted["id"], declined["id"]}

    async def decide(loan: dict[str, Any], decision: str, by: Any) -> Any:
        path = f"/v1/loans/{loan['id']}/rate-exception"
        return await by.post(path, json={"decision": decision, "reason": "会议研究"}, headers=key())

    assert (await decide(accepted, "accepted", town.bank)).status_code == 403
    assert done(await decide(accepted, "accepted", town.office))["state"] == "active"
    assert done(await decide(declined, "refused", town.office))["state"] == "exception_refused"
    refused(await decide(declined, "accepted", town.office), "R-22", "illegal-move")
    assert await town.room() == "9999500.00"
    assert (await town.loan(declined))["rate_decision"] == "refused"
    refused(await town.repay(declined, "1.00"), "R-27", "illegal-move")
    decided = await town.it.announced(RateExceptionDecided)
    assert [event.accepted for event in decided] == [True, False]


async def test_r22_between_one_and_five_years_the_bank_states_the_tenor(town: Town) -> None:
    approval = await town.approved("1000.00")
    three_years = {"security_type": "mortgage", "matures_on": "2029-03-02"}
    loan = done(
        await town.file(approval, "500.00", annual_rate="4.4000", reference_tenor="5Y", **three_years)
    )
    assert (loan["reference_rate"], loan["long_term"]) == ("3.5000", True)
    answer = await town.file(approval, "500.00", annual_rate="4.4000", reference_tenor="1Y", **three_years)
    refused(answer, "R-22", "rate-above-cap")


async def test_r22_without_a_current_quote_a_capped_loan_waits_for_the_office_to_enter_it(
    town: Town,
) -> None:
    await town.move_to(date(2026, 9, 25))
    approval = await town.approved("1000.00")
    year = {"security_type": "mortgage", "matures_on": "2027-09-24"}
    refused(await town.file(approval, "500.00", **year), "R-22", "reference-rate-unknown")
    done(await town.file(approval, "500.00", matures_on="2027-09-24"))
    quote = {"published_on": "2026-09-21", "one_year": "2.9000", "five_year": "3.4000"}
    assert (await town.bank.put("/v1/reference-rates", json=quote)).status_code == 403
    done(await town.office.put("/v1/reference-rates", json=quote))
    loan = done(await town.file(approval, "500.00", **year))
    assert loan["reference_rate"] == "2.9000"


async def test_r23_a_longer_term_is_accepted_and_stands_in_the_offices_list(town: Town) -> None:
    approval = await town.approved("1000.00")
    long = done(await town.file(approval, "500.00", matures_on="2027-03-03"))
    short = done(await town.file(approval, "500.00", matures_on="2027-03-02"))
    assert (long["long_term"], short["long_term"]) == (True, False)
    records = done(await town.office.get("/v1/long-term-records"))["items"]
    assert [loan["id"] for loan in records] == [long["id"]]


async def test_r26_worked_example_5_a_renewal_counts_once(town: Town) -> None:
    old = await town.lend("6000000.00")
    assert await town.room() == "4000000.00"
    await town.move_to(date(2026, 3, 9))
    approval = await town.approved("4000000.00", renews=old["id"])
    assert await town.room() == "4000000.00"
    new = done(await town.file(approval, "4000000.00", renews=old["id"]))
    assert await town.room() == "4000000.00"
    rest = await town.loan(old)
    assert (rest["state"], rest["outstanding"], rest["renewed_by"]) == ("active", "2000000.00", new["id"])
    assert (new["renews"], new["renewals"], new["outstanding"]) == (old["id"], 1, "4000000.00")
    (told,) = await town.it.announced(LoanRenewed)
    assert (told.closed, told.position.outstanding, told.renewed_by) == (False, 200_000_000, told.renewed_by)


async def test_r26_a_loan_renewed_whole_closes_and_the_chain_is_counted(town: Town) -> None:
    loan = await town.lend("1000.00")
    for length, day in enumerate((date(2026, 3, 9), date(2026, 3, 16)), 1):
        await town.move_to(day)
        approval = await town.approved("1000.00", renews=loan["id"])
        new = done(await town.file(approval, "1000.00", renews=loan["id"]))
        closed = await town.loan(loan)
        assert (closed["state"], closed["outstanding"]) == ("renewed", "0.00")
        assert new["renewals"] == length
        refused(await town.repay(loan, "1.00"), "R-27", "more-than-outstanding")
        loan = new
    assert await town.room() == "9999000.00"
    told = await town.it.announced(LoanRenewed)
    assert [event.closed for event in told] == [True, True]
    assert told[0].position.steps[-1].outstanding == 0


async def test_r26_an_ordinary_approval_filed_as_a_renewal_gives_its_room_back(town: Town) -> None:
    old = await town.lend("1000.00")
    await town.move_to(date(2026, 3, 9))
    approval = await town.approved("1000.00")
    assert await town.room() == "9998000.00"
    done(await town.file(approval, "1000.00", renews=old["id"]))
    assert await town.room() == "9999000.00"


async def test_r26_what_was_approved_as_a_renewal_is_filed_as_one(town: Town) -> None:
    old = await town.lend("1000.00")
    await town.move_to(date(2026, 3, 9))
    approval = await town.approved("1000.00", renews=old["id"])
    refused(await town.file(approval, "1000.00"), "R-26", "renewal-refused")


async def test_r26_an_overdue_loan_or_another_banks_or_enterprises_is_not_renewed(town: Town) -> None:
    old = await town.lend("1000.00")
    elsewhere = await town.apply("1000.00", at=town.rival_id)
    done(await town.approve(elsewhere, "1000.00", by=town.rival))
    approval = await town.approved("1000.00")
    await town.move_to(date(2026, 4, 2))
    answer = await town.file(elsewhere, "1000.00", by=town.rival, renews=old["id"])
    refused(answer, "R-26", "renewal-refused")
    await town.move_to(date(2026, 4, 3))
    problem = refused(await town.file(approval, "1000.00", renews=old["id"]), "R-26", "renewal-refused")
    assert "overdue" in problem["detail"]
    assert (await town.loan(old))["renewed_by"] is None


async def test_r25_another_institutions_approval_is_not_found(town: Town) -> None:
    approval = await town.approved("1000.00")
    answer = await town.file(approval, "1000.00", by=town.rival)
    assert answer.status_code == 404


async def test_r25_the_filing_tells_the_others_all_they_need(town: Town) -> None:
    loan = await town.lend("1000.00", due_day=20, day_count=365)
    (told,) = await town.it.announced(LoanFiled)
    assert str(told.loan_id) == loan["id"]
    assert (told.amount, told.day_count, told.status, told.institution_id) == (100_000, 365, "active", BANK)
    assert told.measures == "2022-06-26"
    assert told.position.version == 1
    assert told.position.outstanding == sum(due.principal for due in told.position.dues) == 100_000
    assert told.position.dues[0].due_on == date(2026, 3, 20)
    assert [(step.from_day, step.outstanding) for step in told.position.steps] == [(DAY, 100_000)]


async def test_r25_an_explicit_schedule_is_kept_as_filed(town: Town) -> None:
    dues = [
        {"due_on": "2026-09-01", "principal": "400.00", "interest": "18.00"},
        {"due_on": "2027-03-02", "principal": "600.00", "interest": "11.00"},
    ]
    loan = await town.lend("1000.00", repayment_method="explicit", dues=dues)
    shown = await town.dues(loan)
    kept = [{name: due[name] for name in ("due_on", "principal", "interest")} for due in shown]
    assert kept == dues


async def test_r25_a_batch_files_the_good_lines_and_says_why_it_refuses_the_others(town: Town) -> None:
    approval = await town.approved("1000.00")
    good = [town.drawdown(approval, "400.00") for _ in range(3)]
    lines = [
        good[0],
        town.drawdown(approval, "399.00") | {"contract_number": good[0]["contract_number"]},
        town.drawdown(approval, "400.00") | {"amount": 400},
        good[1],
        good[2],
        town.drawdown({"id": str(uuid4())}, "1.00"),
        good[0],
    ]
    answer = await town.bank.post("/v1/loans/batch", json={"loans": lines}, headers=key())
    report = done(answer)
    assert (report["done"], report["known"], report["refused"]) == (2, 1, 4)
    outcomes = [line["outcome"] for line in report["results"]]
    assert outcomes == ["done", "refused", "refused", "done", "refused", "refused", "known"]
    told = [(line.get("problem") or {}).get("type", "") for line in report["results"]]
    assert told[1].endswith("contract-number-taken")
    assert report["results"][2]["problem"]["errors"][0]["pointer"] == "#/loans/2/amount"
    assert told[4].endswith("more-than-approved")
    assert report["results"][5]["problem"]["status"] == 404
    assert len(done(await town.bank.get("/v1/loans"))["items"]) == 2
    again = done(await town.bank.post("/v1/loans/batch", json={"loans": lines}, headers=key()))
    assert (again["done"], again["known"]) == (0, 3)
    first, second = report["results"], again["results"]
    for place in (0, 3, 6):
        assert (second[place]["outcome"], second[place]["id"]) == ("known", first[place]["id"])
    assert second[1]["problem"]["loan_id"] == first[0]["id"]


async def test_r25_the_same_filing_sent_twice_under_one_key_is_one_filing(town: Town) -> None:
    approval = await town.approved("1000.00")
    body, once = town.drawdown(approval, "400.00"), key()
    first = await town.bank.post("/v1/loans", json=body, headers=once)
    second = await town.bank.post("/v1/loans", json=body, headers=once)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert len(await town.it.announced(LoanFiled)) == 1
