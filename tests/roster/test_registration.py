"""Registration: only listed enterprises, the code shown once, personal data kept from eyes and events."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Any

from sqlalchemy import select

from shared import plumbing
from shared.events import EnterpriseRegistered
from tests.ground import key
from tests.roster.town import ALPHA, BETA, Town, done

PERSONS = {"contact": "李会计", "legal_representative": "陈某某", "phone": "0573-85012345"}


async def register(
    town: Town, uscc: str, status: int = 201, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    body = {"uscc": uscc, **PERSONS}
    answer = await town.nobody.post("/v1/registrations", json=body, headers=headers or key())
    return done(answer, status)  # type: ignore[no-any-return]


async def test_r08_a_listed_enterprise_registers_and_gets_a_code_whose_hash_is_told(town: Town) -> None:
    await town.recognise(ALPHA)
    shown = await register(town, ALPHA)
    assert len(shown["activation_code"]) >= 22
    (told,) = await town.it.announced(EnterpriseRegistered)
    assert told.activation == hashlib.sha256(shown["activation_code"].encode()).hexdigest()
    assert (told.uscc, str(told.registration_id)) == (ALPHA, shown["id"])
    assert not any(value in told.payload() for value in PERSONS.values())


async def test_r08_a_repeat_of_the_request_does_not_show_the_code_again(town: Town) -> None:
    await town.recognise(ALPHA)
    headers = key()
    first = await register(town, ALPHA, headers=headers)
    second = await register(town, ALPHA, headers=headers)
    assert (first["activation_code"] is None, second["activation_code"]) == (False, None)
    assert first["id"] == second["id"]


async def test_r08_the_refusal_says_which_rule_failed_and_nothing_else(town: Town) -> None:
    await town.recognise(BETA)
    await town.rate_d(BETA, first="2026-03-01", last="2026-03-31")
    unknown = await register(town, ALPHA, 409)
    assert unknown["rule"] == "R-03"
    d_class = await register(town, BETA, 409)
    assert d_class["rule"] == "R-04"
    assert (
        unknown.keys()
        == d_class.keys()
        == {"type", "title", "status", "detail", "instance", "rule", "article"}
    )
    assert "2026" not in json.dumps(d_class)
    town.it.clock.hold(date(2026, 4, 1))
    await register(town, BETA)


async def test_r08_an_enterprise_registers_once(town: Town) -> None:
    await town.recognise(ALPHA)
    await register(town, ALPHA)
    assert (await register(town, ALPHA, 409))["type"] == "/problems/already-registered"


async def test_r01_a_wrong_code_is_told_with_what_is_wrong(town: Town) -> None:
    refused = await register(town, ALPHA[:-1] + ("A" if ALPHA[-1] != "A" else "B"), 422)
    assert refused["errors"][0]["pointer"] == "#/uscc"
    assert refused["errors"][0]["detail"].startswith("the check character does not match")


async def test_r08_leaving_the_list_does_not_close_the_registration(town: Town) -> None:
    await town.recognise(ALPHA, valid_to="2026-03-03")
    shown = await register(town, ALPHA)
    await town.it.move_to(date(2026, 3, 10))
    assert not (await town.get(f"/v1/enterprises/{ALPHA}"))["on_list"]
    assert (await town.get(f"/v1/registrations/{shown['id']}"))["uscc"] == ALPHA


async def test_r08_the_office_finds_a_registration_by_its_code(town: Town) -> None:
    await town.recognise(ALPHA, BETA)
    shown = [await register(town, uscc) for uscc in (ALPHA, BETA)]
    found = await town.get("/v1/registrations", uscc=BETA)
    assert [row["id"] for row in found["items"]] == [shown[1]["id"]]
    assert done(await town.alpha.get("/v1/registrations", params={"uscc": BETA}))["items"] == []


async def test_r08_personal_data_is_masked_but_for_the_enterprise_and_disclosed_for_a_reason(
    town: Town,
) -> None:
    await town.recognise(ALPHA)
    shown = await register(town, ALPHA)
    path = f"/v1/registrations/{shown['id']}"
    assert done(await town.alpha.get(path))["phone"] == PERSONS["phone"]
    assert (await town.beta.get(path)).status_code == 404
    for who in (town.office, town.auditor):
        assert {done(await who.get(path))[name] for name in PERSONS} == {"***"}
        assert {done(await who.get("/v1/registrations"))["items"][0][name] for name in PERSONS} == {"***"}
    told = done(await town.office.post(f"{path}/disclosure", json={"reason": "补正材料"}, headers=key()))
    assert {name: told[name] for name in PERSONS} == PERSONS
    assert (await town.auditor.post(f"{path}/disclosure", json={"reason": "x"})).status_code == 403
    async with town.it.running.database.reading() as session:
        audited = (await session.execute(select(plumbing.audit))).all()
    entries = [json.dumps(row.entry, ensure_ascii=False) for row in audited]
    assert any("补正材料" in entry and shown["id"] in entry for entry in entries)
    assert not any(value in entry for value in PERSONS.values() for entry in entries)
