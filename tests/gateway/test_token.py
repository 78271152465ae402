"""Client credentials (RFC 6749 §4.4)."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from tests.gateway.gate import Gate
from tests.ground import key

BANK = str(uuid4())
GRANT = {"grant_type": "client_credentials"}


async def client_of(it: Gate, name: str = "icbc-core") -> str:
    """Makes a client of a bank; its secret."""
    body = {"id": name, "display_name": "ICBC core", "roles": ["institution"], "party": BANK}
    made = await (await it.office()).post("/v1/clients", json=body, headers=key())
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"/v1/clients/{name}"
    return str(made.json()["secret"])


def basic(name: str, secret: str) -> dict[str, str]:
    pair = f"{quote_plus(name)}:{quote_plus(secret)}"
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


async def ask(it: Gate, data: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
    return await it.client().post("/oauth2/token", data=data, headers=headers)


@pytest.mark.parametrize("way", ["basic", "form"])
async def test_a_client_gets_a_token_by_basic_or_in_the_form(it: Gate, way: str) -> None:
    secret = await client_of(it)
    if way == "basic":
        answer = await ask(it, GRANT, basic("icbc-core", secret))
    else:
        answer = await ask(it, GRANT | {"client_id": "icbc-core", "client_secret": secret})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"access_token", "token_type", "expires_in"}
    me = (await it.client(answer.json()["access_token"]).get("/v1/me")).json()
    assert me["subject"] == "client:icbc-core"
    assert (me["machine"], me["party"], me["roles"]) == (True, BANK, ["institution"])


async def test_a_wrong_secret_and_an_unknown_client_get_one_answer(it: Gate) -> None:
    secret = await client_of(it)
    wrong = await ask(it, GRANT, basic("icbc-core", secret + "x"))
    unknown = await ask(it, GRANT, basic("nobody", secret))
    nothing = await ask(it, GRANT)
    assert wrong.status_code == 401
    assert wrong.headers["www-authenticate"].startswith("Basic")
    assert wrong.json()["error"] == "invalid_client"
    assert wrong.content == unknown.content == nothing.content


@pytest.mark.parametrize(
    ("data", "headers", "status", "error"),
    [
        ({"grant_type": "password"}, {}, 400, "unsupported_grant_type"),
        ({"client_id": "a"}, {}, 400, "unsupported_grant_type"),
        ({"grant_type": ["client_credentials", "password"]}, {}, 400, "invalid_request"),
        (GRANT | {"client_id": ["a", "b"]}, {}, 400, "invalid_request"),
        (GRANT | {"client_secret": "x"}, basic("a", "b"), 400, "invalid_request"),
        (GRANT, {"authorization": "Basic ***"}, 401, "invalid_client"),
        (GRANT, {"authorization": "Basic //4="}, 401, "invalid_client"),
    ],
)
async def test_errors_are_told_as_the_standard_prescribes(
    it: Gate, data: dict[str, Any], headers: dict[str, str], status: int, error: str
) -> None:
    answer = await ask(it, data, headers)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"


async def test_a_body_that_is_no_form_is_an_invalid_request(it: Gate) -> None:
    answer = await it.client().post("/oauth2/token", json=GRANT)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_secret_is_shown_once_and_kept_nowhere(it: Gate) -> None:
    office, header = await it.office(), key()
    body = {"id": "icbc-core", "display_name": "ICBC core", "roles": ["institution"], "party": BANK}
    first = await office.post("/v1/clients", json=body, headers=header)
    again = await office.post("/v1/clients", json=body, headers=header)
    secret = first.json()["secret"]
    assert len(secret) >= 43
    assert again.json() == first.json() | {"secret": None}
    assert again.headers["location"] == first.headers["location"]
    assert "secret" not in (await office.get("/v1/clients/icbc-core")).json()
    assert [c["id"] for c in (await office.get("/v1/clients")).json()["items"]] == ["icbc-core"]
    async with it.running.database.reading() as session:
        for table in ("client", "idempotency", "audit", "outbox"):
            rows = (await session.execute(text(f"SELECT t::text FROM {table} t"))).scalars()
            for row in rows:
                assert secret not in row
                assert secret.encode().hex() not in row


async def test_a_new_secret_ends_the_old_one(it: Gate) -> None:
    old = await client_of(it)
    renewed = await (await it.office()).post("/v1/clients/icbc-core/secret", headers=key())
    assert renewed.status_code == 200
    new = renewed.json()["secret"]
    assert (await ask(it, GRANT, basic("icbc-core", old))).status_code == 401
    assert (await ask(it, GRANT, basic("icbc-core", new))).status_code == 200


async def test_a_revoked_client_gets_no_token_and_is_not_found_again(it: Gate) -> None:
    secret = await client_of(it)
    office = await it.office()
    revoked = await office.post("/v1/clients/icbc-core/revocation", headers=key())
    assert (revoked.status_code, revoked.json()["active"]) == (200, False)
    assert (await ask(it, GRANT, basic("icbc-core", secret))).status_code == 401
    assert (await office.post("/v1/clients/icbc-core/revocation", headers=key())).status_code == 404
    assert (await office.post("/v1/clients/icbc-core/secret", headers=key())).status_code == 404


async def test_a_client_id_is_given_once(it: Gate) -> None:
    await client_of(it)
    body = {"id": "icbc-core", "display_name": "x", "roles": ["institution"], "party": BANK}
    twin = await (await it.office()).post("/v1/clients", json=body, headers=key())
    assert twin.status_code == 409
    assert twin.json()["type"] == "/problems/name-taken"
