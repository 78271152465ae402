"""Access that was ended is out at once, at every service behind."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from services.gateway.app import create
from services.gateway.ended import Ended
from services.gateway.signing_in import Door
from services.gateway.upstreams import InProcess
from shared.problems import Unauthenticated
from shared.service import World
from tests.gateway.gate import Gate, _no_keys
from tests.gateway.test_token import GRANT, basic, client_of
from tests.ground import eventually, key, session_client


async def token_of(it: Gate) -> str:
    secret = await client_of(it)
    answer = await it.client().post("/oauth2/token", data=GRANT, headers=basic("icbc-core", secret))
    return str(answer.json()["access_token"])


async def test_a_revoked_client_is_out_at_once_also_at_the_services_behind(it: Gate) -> None:
    machine = it.client(await token_of(it))
    assert (await machine.get("/v1/lending/7")).status_code == 200
    it.time.pass_by(seconds=1)
    await (await it.office()).post("/v1/clients/icbc-core/revocation", headers=key())
    for path in ("/v1/lending/7", "/v1/roster/7", "/v1/me", "/nowhere"):
        refused = await machine.get(path)
        assert refused.status_code == 401, path
        assert "invalid_token" in refused.headers["www-authenticate"]
    assert (await it.client().get("/v1/lending/7")).status_code == 200  # the made-up service asks no token


async def test_a_closed_account_is_out_at_once_and_others_stay(it: Gate) -> None:
    made = await it.account("lin", "auditor")
    other = await it.account("wang", "auditor")
    lin = it.client((await it.sign_in("lin")).json()["access_token"])
    wang = it.client((await it.sign_in("wang")).json()["access_token"])
    it.time.pass_by(seconds=1)
    await (await it.office()).post(f"/v1/accounts/{made['id']}/deactivation", headers=key())
    assert (await lin.get("/v1/me")).status_code == 401
    assert (await wang.get("/v1/me")).json()["subject"] == f"account:{other['id']}"


async def test_a_new_code_ends_the_old_password_and_its_tokens(it: Gate) -> None:
    made = await it.account("lin", "auditor")
    lin = it.client((await it.sign_in("lin")).json()["access_token"])
    it.time.pass_by(seconds=1)
    await (await it.office()).post(f"/v1/accounts/{made['id']}/activation-code", headers=key())
    assert (await lin.get("/v1/me")).status_code == 401
    assert (await it.sign_in("lin")).status_code == 401


async def test_who_is_put_out_while_the_password_is_being_checked_does_not_come_in(
    it: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await it.account("lin", "auditor")
    door: Door = it.app.state.door
    match = door.passwords.match

    async def closed_meanwhile(known: str | None, password: str) -> bool:
        right = await match(known, password)
        await (await it.office()).post(f"/v1/accounts/{made['id']}/deactivation", headers=key())
        return right

    monkeypatch.setattr(door.passwords, "match", closed_meanwhile)
    assert (await it.sign_in("lin")).status_code == 401


@pytest.mark.parametrize("kind", ["account", "client"])
async def test_who_is_put_out_while_the_token_is_being_signed_holds_one_that_is_not_taken(
    it: Gate, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    made = await it.account("lin", "auditor")
    secret = await client_of(it)
    office, sign = await it.office(), it.keys.sign
    out = f"accounts/{made['id']}/deactivation" if kind == "account" else "clients/icbc-core/revocation"

    async def put_out_before(*claims: Any) -> str:
        it.time.pass_by(seconds=1)
        assert (await office.post(f"/v1/{out}", headers=key())).status_code == 200
        it.time.pass_by(seconds=1)
        return await sign(*claims)

    monkeypatch.setattr(it.keys, "sign", put_out_before)
    if kind == "account":
        answer = await it.sign_in("lin")
    else:
        answer = await it.client().post("/oauth2/token", data=GRANT, headers=basic("icbc-core", secret))
    assert (await it.client(answer.json()["access_token"]).get("/v1/me")).status_code == 401


async def test_a_second_gateway_refuses_within_seconds_what_the_first_ended(it: Gate) -> None:
    token = await token_of(it)
    world = World(it.running.settings, it.clock, it.bus, _no_keys)
    behind = {name: InProcess(app) for name, app in it.behind.items()}
    second = create(world, behind, now=it.time)
    async with (
        second.router.lifespan_context(second),
        session_client(second, {"authorization": f"Bearer {token}"}) as machine,
    ):
        assert (await machine.get("/v1/lending/7")).status_code == 200
        it.time.pass_by(seconds=1)
        await (await it.office()).post("/v1/clients/icbc-core/revocation", headers=key())

        async def out() -> bool:
            return (await machine.get("/v1/lending/7")).status_code == 401

        await eventually(out, "the second gateway's refusal", 5)


async def test_the_list_forgets_who_cannot_hold_a_token_any_more(it: Gate) -> None:
    token = await token_of(it)
    it.time.pass_by(days=-1)  # ended a day ago, so that all its tokens are long expired
    await (await it.office()).post("/v1/clients/icbc-core/revocation", headers=key())
    ended: Ended = it.app.state.ended
    ended.refuse([(b"authorization", f"Bearer {token}".encode())])
    assert ended._since == {}


async def test_the_last_list_holds_while_the_database_is_away(
    it: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await token_of(it)
    it.time.pass_by(seconds=1)
    await (await it.office()).post("/v1/clients/icbc-core/revocation", headers=key())
    ended: Ended = it.app.state.ended
    tried = []

    def away() -> None:
        tried.append(1)
        raise DBAPIError("", None, OSError("away"))

    monkeypatch.setattr(it.running.database, "reading", away)
    monkeypatch.setattr(Ended, "POLL_SECONDS", 0.01)

    async def tried_often() -> bool:
        return len(tried) >= 2

    await eventually(tried_often, "two failed looks")
    with pytest.raises(Unauthenticated):
        ended.refuse([(b"authorization", f"Bearer {token}".encode())])


DEEP = base64.urlsafe_b64encode(b"[" * 40_000)


@pytest.mark.parametrize(
    "value", [b"", b"Bearer", b"Bearer x", b"Bearer a.%%%.c", b"Basic a.WzFd.c", b"Bearer a." + DEEP + b".c"]
)
def test_what_is_no_token_is_left_to_the_services(value: bytes) -> None:
    ended = Ended()
    ended._since = {"client:icbc-core": 1.0}
    ended.refuse([(b"authorization", value)])
