"""The office makes and closes accounts; people set and change their own passwords."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.gateway.activation import CODE_HOLDS
from tests.gateway.gate import PASSWORD, Gate
from tests.ground import key

BANK = str(uuid4())
USCC = "91330482MA2JHWXX9D"
PERSON: dict[str, Any] = {"name": "chen", "display_name": "陈晨", "roles": ["institution"], "party": BANK}


async def test_an_account_without_password_is_set_up_by_its_person_with_the_code(it: Gate) -> None:
    made = await (await it.office()).post("/v1/accounts", json=PERSON, headers=key())
    assert made.status_code == 201
    assert made.headers["location"] == f"/v1/accounts/{made.json()['id']}"
    assert (await it.sign_in()).status_code == 401
    code = made.json()["activation_code"]
    activation = {"code": code, "name": "chen", "password": PASSWORD}
    done = await it.client().post("/v1/accounts/activation", json=activation)
    assert (done.status_code, done.json()["roles"]) == (201, ["institution"])
    signed_in = await it.sign_in()
    assert (signed_in.status_code, signed_in.json()["party"]) == (201, BANK)
    assert (await it.client().post("/v1/accounts/activation", json=activation)).status_code == 404


async def test_a_code_is_for_its_name_and_its_time(it: Gate) -> None:
    made = (await (await it.office()).post("/v1/accounts", json=PERSON, headers=key())).json()
    activation = {"code": made["activation_code"], "name": "another", "password": PASSWORD}
    assert (await it.client().post("/v1/accounts/activation", json=activation)).status_code == 404
    it.time.pass_by(seconds=CODE_HOLDS.total_seconds() + 1)
    late = await it.client().post("/v1/accounts/activation", json=activation | {"name": "chen"})
    assert late.status_code == 404
    renewed = await (await it.office()).post(f"/v1/accounts/{made['id']}/activation-code", headers=key())
    activation = {"code": renewed.json()["activation_code"], "name": "chen", "password": PASSWORD}
    assert (await it.client().post("/v1/accounts/activation", json=activation)).status_code == 201


async def test_codes_and_passwords_are_kept_nowhere_in_clear(it: Gate) -> None:
    office, header = await it.office(), key()
    first = await office.post("/v1/accounts", json=PERSON, headers=header)
    again = await office.post("/v1/accounts", json=PERSON, headers=header)
    code = first.json()["activation_code"]
    assert again.json() == first.json() | {"activation_code": None}
    activation = {"code": code, "name": "chen", "password": PASSWORD}
    assert (await it.client().post("/v1/accounts/activation", json=activation, headers=key())).is_success
    async with it.running.database.reading() as session:
        for table in ("account", "idempotency", "audit", "outbox"):
            for row in (await session.execute(text(f"SELECT t::text FROM {table} t"))).scalars():
                for secret in (code, PASSWORD):
                    assert secret not in row
                    assert secret.encode().hex() not in row


@pytest.mark.parametrize(
    ("roles", "party", "pointer"),
    [
        (["institution"], None, "#/party"),
        (["institution"], "no-uuid", "#/party"),
        (["guarantor"], BANK.upper(), "#/party"),
        (["enterprise"], "91330482MA2JHWXX9X", "#/party"),
        (["member"], "nobody", "#/party"),
        (["office"], BANK, "#/party"),
        (["auditor"], "czj", "#/party"),
        (["office", "auditor"], None, "#/roles"),
        (["institution", "office"], BANK, "#/roles"),
        (["finance", "assessor"], "czj", "#/roles"),
        (["institution", "member"], BANK, "#/roles"),
        (["partner"], None, "#/roles"),
    ],
)
async def test_roles_and_parties_that_do_not_go_together_are_refused(
    it: Gate, roles: list[str], party: str | None, pointer: str
) -> None:
    body = PERSON | {"roles": roles, "party": party}
    refused = await (await it.office()).post("/v1/accounts", json=body, headers=key())
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("roles", "party", "kept"),
    [
        (["finance"], "czj", ["finance", "member"]),
        (["assessor", "member"], "jrfzzx", ["assessor", "member"]),
        (["member"], "rmyh", ["member"]),
        (["guarantor"], BANK, ["guarantor"]),
        (["auditor"], None, ["auditor"]),
    ],
)
async def test_finance_and_assessor_are_members_too(
    it: Gate, roles: list[str], party: str | None, kept: list[str]
) -> None:
    body = PERSON | {"roles": roles, "party": party}
    made = await (await it.office()).post("/v1/accounts", json=body, headers=key())
    assert (made.status_code, made.json()["roles"]) == (201, kept)


async def test_a_partner_is_a_machine_client(it: Gate) -> None:
    body = {"id": "eqt", "display_name": "e企通", "roles": ["partner"]}
    assert (await (await it.office()).post("/v1/clients", json=body, headers=key())).status_code == 201


@pytest.mark.parametrize(
    "password", ["aaaaaaaaaaaa", "ababababababab", "chen-2026-pinghu", "CHEN1234567", "short"]
)
async def test_easy_passwords_are_refused(it: Gate, password: str) -> None:
    refused = await (await it.office()).post(
        "/v1/accounts", json=PERSON | {"password": password}, headers=key()
    )
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "#/password"


async def test_a_name_is_given_once_even_when_fifty_ask_at_once(it: Gate) -> None:
    office = await it.office()
    answers = await asyncio.gather(
        *(office.post("/v1/accounts", json=PERSON, headers=key()) for _ in range(50))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    assert {a.json()["type"] for a in answers if a.status_code == 409} == {"/problems/name-taken"}


async def test_only_the_office_makes_accounts_and_the_auditor_may_look(it: Gate) -> None:
    for role in ("institution", "auditor", "enterprise"):
        somebody = it.client(await it.token(role, party=BANK))
        assert (await somebody.post("/v1/accounts", json=PERSON, headers=key())).status_code == 403
    assert (await it.client().post("/v1/accounts", json=PERSON)).status_code == 401
    made = await it.account()
    auditor = it.client(await it.token("auditor"))
    assert [row["name"] for row in (await auditor.get("/v1/accounts")).json()["items"]] == ["chen"]
    assert (await auditor.get(f"/v1/accounts/{made['id']}")).json()["name"] == "chen"
    assert (await auditor.get(f"/v1/accounts/{uuid4()}")).status_code == 404


async def test_the_last_account_of_the_office_stays(it: Gate) -> None:
    office = await it.office()
    one, two = await it.account("one"), await it.account("two")
    both = await asyncio.gather(
        *(office.post(f"/v1/accounts/{row['id']}/deactivation", headers=key()) for row in (one, two))
    )
    assert sorted(answer.status_code for answer in both) == [200, 409]
    [refused] = [answer for answer in both if answer.status_code == 409]
    assert refused.json()["type"] == "/problems/last-office"


async def test_changing_the_password_needs_the_old_one_and_ends_all_tokens(it: Gate) -> None:
    await it.account()
    token = (await it.sign_in()).json()["access_token"]
    me = it.client(token)
    wrong = {"current": "not the password", "password": "another-tide-1985"}
    assert (await me.post("/v1/me/password", json=wrong, headers=key())).status_code == 401
    right = {"current": PASSWORD, "password": "another-tide-1985"}
    it.time.pass_by(seconds=1)
    assert (await me.post("/v1/me/password", json=right, headers=key())).status_code == 200
    assert (await me.get("/v1/me")).status_code == 401
    assert (await it.sign_in()).status_code == 401
    it.time.pass_by(seconds=1)
    anew = (await it.sign_in(password="another-tide-1985")).json()["access_token"]
    assert (await it.client(anew).get("/v1/me")).status_code == 200


async def test_guessing_the_old_password_locks_too(it: Gate) -> None:
    await it.account()
    me = it.client((await it.sign_in()).json()["access_token"])
    body = {"current": "not the password", "password": "another-tide-1985"}
    for _ in range(5):
        assert (await me.post("/v1/me/password", json=body, headers=key())).status_code == 401
    assert (await me.post("/v1/me/password", json=body, headers=key())).status_code == 429


async def test_any_number_who_change_their_passwords_at_once_leave_others_their_turn(it: Gate) -> None:
    """A command holds a connection, and the check of a password needs another: all of them waiting for
    each other would stand still."""
    await it.account("lin", "auditor")
    me = it.client((await it.sign_in("lin")).json()["access_token"])
    body = {"current": "not the password", "password": "another-tide-1985"}
    sent = [me.post("/v1/me/password", json=body, headers=key()) for _ in range(40)]
    async with asyncio.timeout(20):  # who waits for a connection waits for thirty
        statuses = {answer.status_code for answer in await asyncio.gather(*sent)}
    assert 401 in statuses
    assert statuses <= {401, 429, 503}


async def test_a_machine_client_has_no_password(it: Gate) -> None:
    claims = {"sub": "client:x", "name": "x", "roles": ["institution"], "party": BANK, "kind": "machine"}
    machine = it.client(await it.keys.sign(claims))
    body = {"current": PASSWORD, "password": "another-tide-1985"}
    assert (await machine.post("/v1/me/password", json=body, headers=key())).status_code == 404


async def test_making_and_closing_is_audited_under_the_name_of_who_did_it(it: Gate) -> None:
    made = await it.account("lin", "auditor")
    await (await it.office()).post(f"/v1/accounts/{made['id']}/deactivation", headers=key())
    async with it.running.database.reading() as session:
        query = text("SELECT entry FROM audit WHERE :ref = ANY(refs) ORDER BY id")
        entries = list((await session.execute(query, {"ref": made["id"]})).scalars())
    assert [(e["operation"], e["subject"]) for e in entries] == [
        ("create_account", "test:office"),
        ("deactivate_account", "test:office"),
    ]
    assert entries[0]["changes"][0]["after"]["password_hash"] == "***"
    assert entries[1]["changes"][0]["before"]["active"] is True


async def test_what_is_kept_of_a_request_with_a_password_cannot_be_guessed_without_the_secret(
    it: Gate,
) -> None:
    office, header = await it.office(), key()
    body = {"name": "chen", "display_name": "Chen", "roles": ["office"], "password": PASSWORD}
    assert (await office.post("/v1/accounts", json=body, headers=header)).status_code == 201
    it.running.settings = it.running.settings.model_copy(update={"secret": "guessed"})
    again = await office.post("/v1/accounts", json=body, headers=header)
    assert (again.status_code, again.json()["type"]) == (422, "/problems/key-reused")
