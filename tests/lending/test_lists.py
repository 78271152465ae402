"""Every list and question: own cases only, filters, pages, and how few round trips they take."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from services.lending.app import SERVICE
from shared.database import instrument
from shared.identity import permissions
from tests.ground import key
from tests.lending.town import ALPHA, BETA, GUARANTOR, RIVAL, Town, done


async def ids(client: httpx.AsyncClient, path: str) -> list[str]:
    return [row["id"] for row in done(await client.get(path))["items"]]


async def three_loans(town: Town) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Alpha's at the bank, alpha's guaranteed one at the bank, beta's at the rival."""
    plain = await town.lend("1000.00", matures_on="2027-06-01")
    approval = await town.approved("500.00")
    security = {"security_type": "guarantee", "guarantor_id": str(GUARANTOR)}
    guaranteed = done(await town.file(approval, "500.00", first_loan=False, **security))
    elsewhere = await town.approved("700.00", by=town.beta, at=RIVAL)
    other = done(await town.file(elsewhere, "700.00", by=town.rival, first_loan=True))
    return plain, guaranteed, other


async def test_each_party_lists_its_own_loans_and_the_office_all(town: Town) -> None:
    plain, guaranteed, other = (loan["id"] for loan in await three_loans(town))
    assert await ids(town.bank, "/v1/loans") == [guaranteed, plain]
    assert await ids(town.rival, "/v1/loans") == [other]
    assert await ids(town.alpha, "/v1/loans") == [guaranteed, plain]
    assert await ids(town.beta, "/v1/loans") == [other]
    assert await ids(town.guarantor, "/v1/loans") == [guaranteed]
    for everything in ("office", "auditor", "member", "finance", "assessor"):
        client = town.it.client(everything, party="czj")
        assert await ids(client, "/v1/loans") == [other, guaranteed, plain]
    assert (await town.it.client("partner").get("/v1/loans")).status_code == 403
    assert (await town.it.client().get("/v1/loans")).status_code == 401


async def test_each_filter_of_the_list_of_loans_holds(town: Town) -> None:
    plain, guaranteed, other = await three_loans(town)
    for query, found in (
        (f"uscc={BETA}", [other]),
        (f"institution_id={RIVAL}", [other]),
        (f"guarantor_id={GUARANTOR}", [guaranteed]),
        (f"application_id={plain['application_id']}", [plain]),
        ("state=active", [other, guaranteed, plain]),
        ("state=overdue", []),
        ("security_type=guarantee", [guaranteed]),
        ("long_term=true", [plain]),
        ("first_loan=true", [other]),
        (f"number={plain['number']}", [plain]),
        (f"contract_number={other['contract_number']}", [other]),
        (f"uscc={ALPHA}&long_term=false", [guaranteed]),
    ):
        assert await ids(town.office, f"/v1/loans?{query}") == [loan["id"] for loan in found], query
    assert (await town.office.get("/v1/loans?state=nonsense")).status_code == 422


async def test_a_filter_never_widens_what_a_party_sees(town: Town) -> None:
    await three_loans(town)
    assert await ids(town.bank, f"/v1/loans?institution_id={RIVAL}") == []
    assert await ids(town.alpha, f"/v1/loans?uscc={BETA}") == []


async def test_pages_of_loans_follow_each_other_without_gap_or_twin(town: Town) -> None:
    approval = await town.approved("100.00")
    filed = [done(await town.file(approval, "1.00"))["id"] for _ in range(7)]
    found: list[str] = []
    cursor = ""
    while True:
        shown = done(await town.bank.get(f"/v1/loans?limit=3{cursor}"))
        found += [row["id"] for row in shown["items"]]
        if shown["next_cursor"] is None:
            break
        cursor = f"&cursor={shown['next_cursor']}"
    assert found == filed[::-1]
    assert (await town.bank.get("/v1/loans?limit=201")).status_code == 422
    assert (await town.bank.get("/v1/loans?cursor=x")).status_code == 422


async def test_the_list_shows_a_loan_as_its_own_page_does(town: Town) -> None:
    loan = await town.lend("1000.00")
    (row,) = done(await town.bank.get("/v1/loans"))["items"]
    page = done(await town.bank.get(f"/v1/loans/{loan['id']}"))
    assert row == {name: page[name] for name in row} == loan
    assert row["amount"] == "1000.00"
    assert row["annual_rate"] == "3.6000"


@pytest.mark.parametrize("what", ["", "/schedule", "/repayments", "/overdue-reports"])
async def test_anothers_loan_is_answered_like_one_that_does_not_exist(town: Town, what: str) -> None:
    loan = await town.lend("1000.00")
    clients = [town.rival, town.guarantor]
    if what != "/overdue-reports":
        clients.append(town.beta)
    for client in clients:
        strange = await client.get(f"/v1/loans/{loan['id']}{what}")
        nothing = await client.get(f"/v1/loans/{uuid4()}{what}")
        assert strange.status_code == nothing.status_code == 404
        assert strange.json() | {"instance": ""} == nothing.json() | {"instance": ""}
    assert (await town.bank.get(f"/v1/loans/{loan['id']}{what}")).status_code == 200


async def test_r24_an_enterprise_sees_its_own_room_only(town: Town) -> None:
    await town.lend("1000.00")
    exposure = done(await town.alpha.get(f"/v1/exposures/{ALPHA}"))
    assert exposure == {
        "uscc": ALPHA,
        "committed": "1000.00",
        "ceiling": "10000000.00",
        "room": "9999000.00",
    }
    assert (await town.alpha.get(f"/v1/exposures/{BETA}")).status_code == 404
    assert (await town.bank.get(f"/v1/exposures/{ALPHA}")).status_code == 403


async def test_r22_the_lpr_so_far_is_on_record_newest_first(town: Town) -> None:
    first = done(await town.bank.get("/v1/reference-rates?limit=200"))
    quotes = {row["published_on"]: (row["one_year"], row["five_year"]) for row in first["items"]}
    assert list(quotes) == sorted(quotes, reverse=True)
    assert quotes["2022-07-20"] == ("3.7000", "4.4500")
    assert quotes["2022-08-22"] == ("3.6500", "4.3000")
    assert quotes["2019-08-20"] == ("4.2500", "4.8500")
    wrong = {"published_on": "2026-03-03", "one_year": "3.0000", "five_year": "3.5000"}
    assert (await town.office.put("/v1/reference-rates", json=wrong)).status_code == 422
    mended = wrong | {"published_on": "2026-03-02"}
    done(await town.office.put("/v1/reference-rates", json=mended))
    again = done(await town.office.put("/v1/reference-rates", json=mended | {"one_year": "2.9500"}))
    assert again["one_year"] == "2.9500"


async def test_a_list_of_fifty_loans_is_one_statement(town: Town) -> None:
    approval = await town.approved("100.00")
    body = {"loans": [town.drawdown(approval, "1.00") for _ in range(60)]}
    done(await town.bank.post("/v1/loans/batch", json=body, headers=key()))
    seen: list[str] = []
    instrument(town.it.running.database.engine.sync_engine, seen.append)
    assert len(await ids(town.bank, "/v1/loans?limit=50")) == 50
    assert len([statement for statement in seen if "loan" in statement]) == 1


@pytest.mark.parametrize("lines", [1, 40])
async def test_a_filing_takes_the_same_few_statements_for_one_line_as_for_forty(
    town: Town, lines: int
) -> None:
    approval = await town.approved("100.00")
    body = {"loans": [town.drawdown(approval, "1.00") for _ in range(lines)]}
    seen: list[str] = []
    instrument(town.it.running.database.engine.sync_engine, seen.append)
    done(await town.bank.post("/v1/loans/batch", json=body, headers=key()))
    # The facts with their locks, and all rows; the rest is the shared opening and closing of a command.
    assert len([statement for statement in seen if "application" in statement]) == 2
    assert len(seen) < 12


async def test_every_operation_has_its_row_of_permissions() -> None:
    operations = {route.operation_id for router in SERVICE.steps for route in router.routes}  # type: ignore[attr-defined]
    assert None not in operations
    assert operations <= permissions().keys()


async def test_the_days_work_finds_what_it_needs_by_index(town: Town) -> None:
    waiting = {
        "loan_falling_due": "SELECT FROM loan WHERE state = 'active' AND next_due_on < DATE '2026-03-02'",
        "application_lapsing": "SELECT FROM application "
        "WHERE state = 'approved' AND lapses_on < DATE '2026-03-02'",
    }
    async with town.it.running.database.transaction() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        for index, query in waiting.items():
            plan = [row[0] for row in await session.execute(text(f"EXPLAIN {query}"))]
            assert index in "".join(plan)
