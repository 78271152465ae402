"""Nominations, admissions, exits, guarantors: the vote, the meeting, and what follows from them."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from services.roster.daily import tell_what_the_day_changes
from services.roster.institution import Institution
from shared.events import (
    CooperationCancelled,
    EnterpriseListed,
    GuarantorAdmitted,
    GuarantorExited,
    InstitutionAdmitted,
    InstitutionDisqualified,
    InstitutionExited,
    WorkingCalendarSet,
)
from tests.ground import DAY, key
from tests.roster.town import ALPHA, BANK, BETA, FROM, RIVAL, Town, done

REASONS = {"uscc": ALPHA, "name": "阿尔法传感", "reasons": "研发投入占比高"}


async def nominate(town: Town, by: httpx.AsyncClient | None = None, **more: Any) -> dict[str, Any]:
    answer = await (by or town.office).post("/v1/nominations", json=REASONS | more, headers=key())
    return done(answer, 201)  # type: ignore[no-any-return]


async def vote(member: httpx.AsyncClient, case: str, choice: str, status: int = 200) -> Any:
    return done(await member.post(f"{case}/ballots", json={"choice": choice}, headers=key()), status)


async def meeting(town: Town, case: str, outcome: str, held_on: str, status: int = 200) -> Any:
    body = {"outcome": outcome, "minutes_number": "〔2026〕3号", "held_on": held_on}
    return done(await town.office.post(f"{case}/meeting-outcome", json=body, headers=key()), status)


async def test_r07_all_units_approve_and_the_case_is_the_document(town: Town) -> None:
    case = await nominate(town)
    shown = await town.all_approve(f"/v1/nominations/{case['id']}")
    assert (shown["state"], shown["decided_on"]) == ("approved", "2026-03-02")
    enterprise = await town.get(f"/v1/enterprises/{ALPHA}")
    assert enterprise["on_list"]
    held = enterprise["qualifications"][0]
    assert (held["category"], held["document_no"], held["valid_to"]) == (
        "conference_approved",
        case["number"],
        None,
    )
    told = await town.it.announced(EnterpriseListed)
    assert [(e.cause, e.document, e.from_day) for e in told] == [("qualification", case["number"], DAY)]


async def test_r05_what_was_decided_and_told_before_the_day_s_work_came_is_not_told_again(town: Town) -> None:
    case = await nominate(town)
    await town.all_approve(f"/v1/nominations/{case['id']}")
    async with town.it.running.database.transaction() as session:
        await tell_what_the_day_changes(session, DAY)
    assert len(await town.it.announced(EnterpriseListed)) == 1


async def test_r07_r04_still_applies_to_a_nominated_enterprise(town: Town) -> None:
    await town.rate_d(ALPHA, first="2026-01-01", last="2026-12-31")
    case = await nominate(town)
    await town.all_approve(f"/v1/nominations/{case['id']}")
    assert await town.days(ALPHA) == [("2027-01-01", None)]


@pytest.mark.parametrize("choice", ["object", "meet"])
async def test_r07_an_objection_or_a_wish_to_meet_waits_for_the_meeting(town: Town, choice: str) -> None:
    case = f"/v1/nominations/{(await nominate(town))['id']}"
    first, *others = town.members()
    assert (await vote(first, case, choice))["state"] == "meeting"
    for member in others:
        assert (await vote(member, case, "approve"))["state"] == "meeting"
    assert (await meeting(town, case, "approved", "2026-03-02"))["state"] == "approved"
    assert (await town.get(f"/v1/enterprises/{ALPHA}"))["on_list"]


async def test_r07_a_ballot_may_be_changed_until_the_case_closes(town: Town) -> None:
    case = f"/v1/nominations/{(await nominate(town))['id']}"
    first, *others = town.members()
    assert (await vote(first, case, "object"))["state"] == "meeting"
    assert (await vote(first, case, "approve"))["state"] == "voting"
    for member in others:
        shown = await vote(member, case, "approve")
    assert shown["state"] == "approved"
    refused = await vote(first, case, "object", 409)
    assert (refused["rule"], refused["state"]) == ("R-07", "approved")


async def test_r07_a_declined_nomination_qualifies_nobody_and_may_be_made_anew(town: Town) -> None:
    case = f"/v1/nominations/{(await nominate(town))['id']}"
    await vote(town.members()[0], case, "meet")
    assert (await meeting(town, case, "declined", "2026-03-02"))["state"] == "declined"
    assert (await town.office.get(f"/v1/enterprises/{ALPHA}")).status_code == 404
    await nominate(town)


async def test_r07_the_office_records_no_meeting_that_nobody_asked_for_nor_one_to_come(town: Town) -> None:
    case = f"/v1/nominations/{(await nominate(town))['id']}"
    await meeting(town, case, "approved", "2026-03-02", 409)
    await vote(town.members()[0], case, "meet")
    for day in ("2026-03-03", "2026-03-01"):
        assert (await meeting(town, case, "approved", day, 422))["rule"] == "R-07"


async def test_r07_one_nomination_at_a_time_and_none_for_who_holds_a_document(town: Town) -> None:
    await nominate(town)
    again = await town.bank.post("/v1/nominations", json=REASONS, headers=key())
    assert done(again, 409)["type"] == "/problems/nomination-open"
    await town.recognise(BETA)
    body = REASONS | {"uscc": BETA}
    refused = done(await town.office.post("/v1/nominations", json=body, headers=key()), 409)
    assert (refused["type"], refused["rule"]) == ("/problems/not-to-be-nominated", "R-07")


async def test_r07_an_enterprise_nominates_itself_only_and_parties_see_their_own(town: Town) -> None:
    own = await nominate(town, town.alpha)
    other = await town.alpha.post("/v1/nominations", json=REASONS | {"uscc": BETA}, headers=key())
    assert other.status_code == 404
    by_bank = await nominate(town, town.bank, uscc=BETA)
    assert (await town.alpha.get(f"/v1/nominations/{own['id']}")).status_code == 200
    assert (await town.beta.get(f"/v1/nominations/{by_bank['id']}")).status_code == 200
    for who in (town.beta, town.bank, town.rival):
        assert (await who.get(f"/v1/nominations/{own['id']}")).status_code == 404
    pages = [done(await who.get("/v1/nominations")) for who in (town.alpha, town.bank, town.rival)]
    assert [[item["id"] for item in page["items"]] for page in pages] == [[own["id"]], [by_bank["id"]], []]
    found = await town.get("/v1/nominations", uscc=BETA)
    assert [item["id"] for item in found["items"]] == [by_bank["id"]]


async def test_r07_only_a_member_unit_votes(town: Town) -> None:
    case = f"/v1/nominations/{(await nominate(town))['id']}"
    strange = town.it.client("member", party="no_unit")
    assert (await vote(strange, case, "approve", 403))["rule"] == "R-07"
    assert (await town.bank.post(f"{case}/ballots", json={"choice": "approve"})).status_code == 403
    finance = town.it.client("finance", "member", party="czj")
    shown = await vote(finance, case, "approve")
    cast = [one["unit"] for one in shown["ballots"] if one["choice"]]
    assert cast == ["czj"]


# ── institutions ─────────────────────────────────────────────────────────────────────────────────


async def apply(town: Town, by: httpx.AsyncClient | None = None, status: int = 201) -> dict[str, Any]:
    body = {"name": "平湖农商银行", "statement": "科创专营"}
    answer = await (by or town.bank).post("/v1/admissions", json=body, headers=key())
    return done(answer, status)  # type: ignore[no-any-return]


async def admit(town: Town, by: httpx.AsyncClient | None = None) -> None:
    await town.all_approve(f"/v1/admissions/{(await apply(town, by))['id']}")


async def test_r10_an_admitted_institution_is_active_from_the_decision(town: Town) -> None:
    case = await apply(town)
    assert (await town.rival.get(f"/v1/admissions/{case['id']}")).status_code == 404
    await town.all_approve(f"/v1/admissions/{case['id']}")
    shown = done(await town.nobody.get(f"/v1/institutions/{BANK}"))
    assert (shown["state"], shown["admitted_on"]) == ("active", "2026-03-02")
    told = await town.it.announced(InstitutionAdmitted)
    assert [(e.institution_id, e.name, e.effective_on) for e in told] == [(BANK, "平湖农商银行", DAY)]
    assert (await apply(town, status=409))["rule"] == "R-10"


async def test_r10_one_application_at_a_time_and_the_meeting_may_admit(town: Town) -> None:
    case = f"/v1/admissions/{(await apply(town))['id']}"
    assert (await apply(town, status=409))["type"] == "/problems/admission-open"
    await vote(town.members()[0], case, "object")
    await town.it.move_to(date(2026, 3, 9))
    await meeting(town, case, "approved", "2026-03-05")
    told = await town.it.announced(InstitutionAdmitted)
    assert told[0].effective_on == date(2026, 3, 5)


async def leave(town: Town, by: httpx.AsyncClient, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = await by.post(f"/v1/institutions/{BANK}/exit", json=body, headers=key())
    return done(answer, status)  # type: ignore[no-any-return]


async def test_r11_an_exit_holds_from_the_next_business_day_at_the_earliest(town: Town) -> None:
    await admit(town)
    await town.it.move_to(date(2026, 3, 6))
    refused = await leave(town, town.bank, 409, exit_on="2026-03-08")
    assert (refused["rule"], refused["earliest"]) == ("R-11", "2026-03-09")
    shown = await leave(town, town.bank)
    assert (shown["state"], shown["exit_on"], shown["exit_cause"]) == ("leaving", "2026-03-09", "own_notice")
    told = await town.it.announced(InstitutionExited)
    assert [(e.effective_on, e.cause) for e in told] == [(date(2026, 3, 9), "own_notice")]
    assert (await leave(town, town.bank, 409))["type"] == "/problems/exit-date-not-possible"
    await town.it.move_to(date(2026, 3, 9))
    assert (await leave(town, town.bank, 409))["type"] == "/problems/illegal-move"
    assert (await town.get(f"/v1/institutions/{BANK}"))["state"] == "exited"
    assert (await town.get("/v1/institutions", active_on="2026-03-09"))["items"] == []
    assert len((await town.get("/v1/institutions", active_on="2026-03-08"))["items"]) == 1


async def test_r11_an_exit_that_is_announced_can_be_brought_forward_and_not_put_off(town: Town) -> None:
    await admit(town)
    await leave(town, town.bank, exit_on="2099-12-31")
    later = await leave(town, town.office, 409, minutes_number="〔2026〕6号", exit_on="2100-01-04")
    assert (later["rule"], "2099-12-31" in later["detail"]) == ("R-11", True)
    shown = await leave(town, town.office, minutes_number="〔2026〕6号")
    assert (shown["exit_on"], shown["exit_cause"]) == ("2026-03-03", "conference_decision")
    told = await town.it.announced(InstitutionExited)
    assert [e.effective_on for e in told] == [date(2099, 12, 31), date(2026, 3, 3)]
    await town.it.move_to(date(2026, 3, 3))
    assert (await town.get(f"/v1/institutions/{BANK}"))["state"] == "exited"


async def test_r11_the_office_s_own_calendar_wins(town: Town) -> None:
    await admit(town)
    off = WorkingCalendarSet(year=2026, exceptions={date(2026, 3, 3): False}, **FROM)
    await town.it.hear(off)
    assert (await leave(town, town.bank))["exit_on"] == "2026-03-04"


async def test_r33_an_exit_counted_without_a_year_s_plan_says_so(town: Town) -> None:
    await admit(town)
    await town.it.move_to(date(2026, 3, 3))
    town.it.clock.hold(date(2031, 5, 5))
    assert "2031" in (await leave(town, town.bank, 409, exit_on="2031-05-05"))["warning"]
    assert "2031" in (await leave(town, town.bank))["warning"]
    body = {"uscc": BETA, "name": "平湖融资担保"}
    guarantor = done(await town.office.post("/v1/guarantors", json=body, headers=key()))
    left = await town.office.post(f"/v1/guarantors/{guarantor['id']}/exit", json={}, headers=key())
    assert "2031" in done(left)["warning"]


async def test_r11_the_conference_decides_an_exit_by_its_minutes(town: Town) -> None:
    await admit(town)
    assert (await leave(town, town.office, 422))["rule"] == "R-11"
    shown = await leave(town, town.office, minutes_number="〔2026〕5号", reason="考核不合格")
    assert shown["exit_cause"] == "conference_decision"
    async with town.it.running.database.reading() as session:
        kept = (await session.execute(select(Institution))).scalar_one()
    assert (kept.exit_minutes_number, kept.exit_reason) == ("〔2026〕5号", "考核不合格")
    other = await town.rival.post(f"/v1/institutions/{BANK}/exit", json={}, headers=key())
    nowhere = await town.rival.post(f"/v1/institutions/{UUID(int=9)}/exit", json={}, headers=key())
    assert other.status_code == nowhere.status_code == 404


async def test_r12_a_voluntary_exit_carries_no_refusal(town: Town) -> None:
    await admit(town)
    await leave(town, town.bank)
    await town.it.move_to(date(2026, 3, 3))
    await admit(town)
    shown = await town.get(f"/v1/institutions/{BANK}")
    assert (shown["state"], shown["admitted_on"], shown["exit_on"]) == ("active", "2026-03-03", None)


async def test_r12_a_disqualified_institution_waits_two_years(town: Town) -> None:
    await admit(town)
    await town.it.move_to(date(2026, 3, 4))
    cancelled = CooperationCancelled(
        institution_id=BANK, name="平湖农商银行", year=2026, effective_on=date(2026, 3, 4), **FROM
    )
    await town.it.hear(cancelled, cancelled)
    await town.it.hear(cancelled.model_copy(update={"event_id": UUID(int=77)}))
    told = await town.it.announced(InstitutionDisqualified)
    assert [(e.effective_on, e.refused_until) for e in told] == [(date(2026, 3, 4), date(2028, 3, 4))]
    assert (await town.get("/v1/institutions", active_on="2026-03-04"))["items"] == []
    town.it.clock.hold(date(2028, 3, 3))
    assert (await apply(town, status=409))["rule"] == "R-12"
    town.it.clock.hold(date(2028, 3, 4))
    await admit(town)
    assert (await town.get(f"/v1/institutions/{BANK}"))["refused_until"] is None
    await town.it.hear(cancelled.model_copy(update={"event_id": UUID(int=78)}))
    assert (await town.get(f"/v1/institutions/{BANK}"))["state"] == "active"


async def test_r12_disqualified_after_it_applied_the_years_hold_for_the_decision(town: Town) -> None:
    await admit(town)
    await leave(town, town.bank)
    await town.it.move_to(date(2026, 3, 3))
    case = f"/v1/admissions/{(await apply(town))['id']}"
    await town.it.hear(
        CooperationCancelled(institution_id=BANK, name="平湖农商银行", year=2025, effective_on=DAY, **FROM)
    )
    *most, last = town.members()
    for member in most:
        await vote(member, case, "approve")
    assert (await vote(last, case, "approve", 409))["rule"] == "R-12"


async def test_r12_a_cancellation_of_somebody_unknown_is_passed_over(town: Town) -> None:
    await town.it.hear(
        CooperationCancelled(institution_id=RIVAL, name="无", year=2025, effective_on=DAY, **FROM)
    )
    assert await town.it.announced() == []


async def test_r13_the_office_registers_guarantors_and_ends_their_part(town: Town) -> None:
    body = {"uscc": BETA, "name": "平湖融资担保"}
    shown = done(await town.office.post("/v1/guarantors", json=body, headers=key()), 201)
    again = done(await town.office.post("/v1/guarantors", json=body, headers=key()), 409)
    assert again["rule"] == "R-13"
    assert (await town.bank.post("/v1/guarantors", json=body, headers=key())).status_code == 403
    told = await town.it.announced(GuarantorAdmitted)
    assert [(str(e.guarantor_id), e.effective_on) for e in told] == [(shown["id"], DAY)]
    path = f"/v1/guarantors/{shown['id']}"
    early = await town.office.post(f"{path}/exit", json={"exit_on": "2026-03-02"}, headers=key())
    assert done(early, 409)["rule"] == "R-11"
    left = done(await town.office.post(f"{path}/exit", json={}, headers=key()))
    assert (left["state"], left["exit_on"]) == ("leaving", "2026-03-03")
    assert len(await town.it.announced(GuarantorExited)) == 1
    await town.it.move_to(date(2026, 3, 3))
    assert done(await town.nobody.get(path))["state"] == "exited"
    assert [one["id"] for one in done(await town.nobody.get("/v1/guarantors"))["items"]] == [shown["id"]]


async def test_r13_a_guarantor_that_left_is_registered_anew_under_its_id(town: Town) -> None:
    body = {"uscc": BETA, "name": "平湖融资担保"}
    first = done(await town.office.post("/v1/guarantors", json=body, headers=key()))
    path = f"/v1/guarantors/{first['id']}"
    done(await town.office.post(f"{path}/exit", json={}, headers=key()))
    assert done(await town.office.post("/v1/guarantors", json=body, headers=key()), 409)["rule"] == "R-13"
    await town.it.move_to(date(2026, 3, 5))
    early = body | {"admitted_on": "2026-03-02"}
    assert done(await town.office.post("/v1/guarantors", json=early, headers=key()), 422)["rule"] == "R-13"
    again = body | {"name": "平湖融资担保有限公司"}
    shown = done(await town.office.post("/v1/guarantors", json=again, headers=key()), 201)
    assert (shown["id"], shown["state"], shown["exit_on"]) == (first["id"], "active", None)
    assert (shown["name"], shown["admitted_on"]) == (again["name"], "2026-03-05")
    told = await town.it.announced(GuarantorAdmitted)
    assert [e.effective_on for e in told] == [DAY, date(2026, 3, 5)]
