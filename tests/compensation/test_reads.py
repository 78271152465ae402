"""Claim readiness (R-34), the lists with what waits for whom (R-80), and the memory's replay."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services import operate
from shared.bus import Outgoing
from shared.database import new_id
from shared.events import OverdueDetected
from tests.compensation.town import MATURES, RIVAL, UNITS, Loan, Town


async def readiness(town: Town, loan: Loan) -> dict[str, Any]:
    return dict((await town.bank.get(f"/v1/loans/{loan.id}/claim-readiness")).json())


def unmet(answer: dict[str, Any]) -> list[str]:
    return [condition["rule"] for condition in answer["conditions"] if not condition["met"]]


async def test_r34_a_running_loan_says_what_is_missing_and_who_would_bear_what(town: Town) -> None:
    loan = Loan(300_000_001, 4_567_893, "guarantee", status="active", overdue_since=None)
    await town.it.hear(loan.filed())
    answer = await readiness(town, loan)
    assert (answer["ready"], answer["first_possible_on"], unmet(answer)) == (
        False,
        None,
        ["R-30", "R-31", "R-40"],
    )
    assert (answer["principal"], answer["interest"]) == ("3000000.01", "45678.93")
    assert (answer["split"]["fund"], answer["split"]["institution"]) == ("1218271.57", "609135.80")
    assert {condition["article"] for condition in answer["conditions"]} >= {"M-七(一)", "M-五(一)"}


async def test_r34_the_conditions_are_met_one_after_the_other(town: Town) -> None:
    await town.fund()
    loan = Loan(100_000_000, overdue_since=None)
    await town.it.hear(loan.filed())
    loan.overdue_since = MATURES
    detected = OverdueDetected(
        **loan.about(), overdue_since=MATURES, report_deadline=MATURES, position=loan._changed()
    )
    await town.it.hear(detected)
    answer = await readiness(town, loan)
    assert (unmet(answer), answer["first_possible_on"]) == (["R-31"], "2026-02-25")
    await town.it.hear(loan.reported())
    assert (await readiness(town, loan))["ready"] is True
    await town.claimed(loan)
    assert unmet(await readiness(town, loan)) == ["R-40"]


async def test_r34_the_cap_s_cut_is_foreseen(town: Town) -> None:
    await town.fund()
    await town.approved(await town.overdue(Loan(1_616_666_667)))
    answer = await readiness(town, await town.overdue(Loan(100_000_000)))
    assert (answer["split"]["fund"], answer["cut"], answer["split"]["institution"]) == (
        "300000.00",
        "300000.00",
        "700000.00",
    )


async def test_r34_another_party_s_loan_looks_as_if_it_did_not_exist(town: Town) -> None:
    loan = await town.overdue(Loan(100_000_000))
    theirs = await town.rival.get(f"/v1/loans/{loan.id}/claim-readiness")
    none = await town.rival.get(f"/v1/loans/{uuid4()}/claim-readiness")
    assert theirs.status_code == none.status_code == 404
    assert theirs.json()["detail"] == none.json()["detail"]
    assert (await town.enterprise.get(f"/v1/loans/{loan.id}/claim-readiness")).status_code == 200


async def ids(client: Any, address: str = "/v1/claims", **params: Any) -> list[str]:
    answer = await client.get(address, params=params)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_r34_any_number_who_ask_for_loans_that_are_not_wait_at_the_same_time(town: Town) -> None:
    """Each is waited for as one whose filing is on its way, two seconds; by twelves they would take a
    quarter of a minute, and everybody else with them."""
    asking = [town.rival.get(f"/v1/loans/{UUID(int=n)}/claim-readiness") for n in range(100)]
    async with asyncio.timeout(12):
        answers = await asyncio.gather(*asking)
    assert {answer.status_code for answer in answers} == {404}


async def test_r80_lists_show_what_waits_for_whom(town: Town) -> None:
    await town.fund()
    voting = await town.claimed(await town.overdue(Loan(100_000_000)))
    paying = await town.approved(await town.overdue(Loan(100_000_000, security="guarantee")))
    await town.pay(paying, "guarantor")
    paid = await town.paid(await town.overdue(Loan(100_000_000, security="guarantee", bank=RIVAL)))
    recovery = (await town.recover(paid, "1000.00")).json()
    await town.receive(recovery, "guarantor")
    assert await ids(town.members[UNITS[0]], open="ballots") == [voting]
    await town.vote(voting, UNITS[0])
    assert await ids(town.members[UNITS[0]], open="ballots") == []
    assert await ids(town.members[UNITS[1]], open="ballots") == [voting]
    assert await ids(town.office, open="ballots") == [voting]
    assert await ids(town.finance, open="payout") == [paying["id"]]
    assert await ids(town.guarantor, open="payout") == []
    assert await ids(town.office, open="payout") == [paying["id"]]
    assert await ids(town.finance, "/v1/recoveries", open="true") == [recovery["id"]]
    assert await ids(town.guarantor, "/v1/recoveries", open="true") == []
    assert await ids(town.guarantor, "/v1/recoveries") == [recovery["id"]]
    assert await ids(town.rival, open="credit_record") == [paid["id"]]


async def test_lists_are_one_s_own_the_newest_first_in_pages(town: Town) -> None:
    claims = [await town.claimed(await town.overdue(Loan(100_000_000))) for _ in range(3)]
    other = await town.claimed(await town.overdue(Loan(100_000_000, bank=RIVAL)))
    assert await ids(town.bank) == claims[::-1]
    assert await ids(town.enterprise) == [other, *claims[::-1]]
    assert await ids(town.office, institution_id=str(RIVAL)) == [other]
    assert await ids(town.office, state="paid") == []
    first = (await town.office.get("/v1/claims", params={"limit": 3})).json()
    rest = (await town.office.get("/v1/claims", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == [other, *claims[::-1]]
    assert rest["next_cursor"] is None
    item = first["items"][0]
    assert (item["principal"], item["fund"], item["state"]) == ("1000000.00", "600000.00", "submitted")
    assert await ids(town.bank, "/v1/write-offs", state="requested") == []


async def test_the_memory_of_loans_is_rebuilt_from_the_log_alone(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    loan = await town.overdue(Loan(100_000_000, 4_500_000))
    cured = await town.overdue(Loan(100_000_000))
    await town.it.hear(loan.repaid(10_000_000, 500_000), cured.repaid(50_000_000), cured.cured())
    assert await operate.replay(town.it.running.settings, "compensation") == 0
    assert capsys.readouterr().out == "compensation: 7 facts replayed, memory is equal\n"
    async with town.it.running.database.transaction() as session:
        await session.execute(text("UPDATE covered_loan SET outstanding_fen = 1"))
    assert await operate.replay(town.it.running.settings, "compensation") == 1
    assert "compensation.covered_loan: 2 rows only now, 2 only rebuilt" in capsys.readouterr().out


async def test_what_a_replay_cannot_take_in_is_told_and_buried_nowhere(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    town.it.running.consumer.back_off_seconds = 0.001
    before, after = Loan(100_000_000).filed(), Loan(200_000_000).filed()
    poison = Outgoing("kechuang.lending", "x", new_id(), "LoanFiled", before.occurred_at, None, b"{}")
    await town.it.hear(before)
    await town.it.bus.publish([poison])
    await town.it.hear(after)
    assert await operate.replay(town.it.running.settings, "compensation") == 1
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if str(poison.event_id) in line and "cannot be taken in" in line]
    assert told[-1] == "compensation: 3 facts replayed, memory is equal"
    assert len(await town.it.bus.dead_letters("kechuang.lending")) == 1


async def test_r48_the_ledger_is_read_page_by_page_to_its_beginning(town: Town) -> None:
    for _ in range(5):
        await town.fund("10.00")
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while len(seen) < 5:
        answer = await town.auditor.get("/v1/fund/entries", params={"limit": 2, **cursor})
        assert answer.status_code == 200, answer.text
        seen += [entry["id"] for entry in answer.json()["items"]]
        cursor = {"cursor": answer.json()["next_cursor"]}
    assert seen == sorted(seen, reverse=True)
    assert cursor["cursor"] is None


async def test_a_made_up_cursor_is_wrong_input(town: Town) -> None:
    for address in ("/v1/claims", "/v1/recoveries", "/v1/write-offs", "/v1/fund/entries"):
        answer = await town.office.get(address, params={"cursor": "WyJ4Il0"})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/cursor"), address
