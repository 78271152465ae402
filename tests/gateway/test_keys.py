"""Access tokens and the keys they are signed with, by a time the test holds."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey
from sqlalchemy import func, select, text
from sqlmodel import col

from services.gateway.account import SigningKey
from services.gateway.keys import KEPT_AFTER, PUBLISHED_BEFORE, SIGNS_FOR, TOKEN_SECONDS, Keys
from shared.identity import Verifier
from shared.problems import Unauthenticated
from tests.gateway.gate import SECRET, Gate

CLAIMS = {"sub": "account:1", "name": "Chen", "roles": ["office"], "party": None, "kind": "person"}


async def kids(keys: Keys) -> list[str]:
    return [key["kid"] for key in (await keys.jwks())["keys"]]


def kid_of(token: str) -> str:
    head = token.split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


def verifier(it: Gate) -> Verifier:
    return Verifier(it.keys.jwks, now=lambda: it.time().timestamp())


async def test_a_token_says_who_it_is_for_and_is_verified_by_the_published_keys(it: Gate) -> None:
    token = await it.keys.sign(CLAIMS)
    published = (await it.client().get("/.well-known/jwks.json")).json()
    decoded = jwt.decode(token, KeySet.import_key_set(published), algorithms=["ES256"])
    assert decoded.header["alg"] == "ES256"
    assert decoded.header["typ"] == "at+jwt"
    assert decoded.claims["exp"] - int(decoded.claims["iat"]) == TOKEN_SECONDS
    principal = await verifier(it).principal(f"Bearer {token}")
    assert (principal.subject, set(principal.roles)) == ("account:1", {"office"})
    assert not principal.machine


async def test_what_is_published_has_no_private_parts(it: Gate) -> None:
    answer = await it.client().get("/.well-known/jwks.json")
    assert answer.status_code == 200
    [key] = answer.json()["keys"]
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}


async def test_private_parts_are_encrypted_at_rest(it: Gate) -> None:
    await it.keys.sign(CLAIMS)
    async with it.running.database.reading() as session:
        row = (await session.execute(text("SELECT * FROM signing_key"))).one()
    public = json.loads(row.public_jwk)
    assert public.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert '"d"' not in row.sealed_private_jwk
    assert public["x"] not in row.sealed_private_jwk


async def test_a_token_holds_for_its_time_and_no_longer(it: Gate) -> None:
    token = f"Bearer {await it.keys.sign(CLAIMS)}"
    checks = verifier(it)
    it.time.pass_by(seconds=TOKEN_SECONDS - 1)
    assert (await checks.principal(token)).subject == "account:1"
    it.time.pass_by(seconds=12)  # the verifiers' leeway is 10 s
    with pytest.raises(Unauthenticated):
        await checks.principal(token)
    with pytest.raises(Unauthenticated):
        await verifier(it).principal(token)


async def test_a_successor_is_published_before_it_signs_and_takes_over_on_time(it: Gate) -> None:
    first = kid_of(await it.keys.sign(CLAIMS))
    it.time.pass_by(seconds=(SIGNS_FOR - PUBLISHED_BEFORE).total_seconds() + 61)
    before = await kids(it.keys)
    assert len(before) == 2
    assert kid_of(await it.keys.sign(CLAIMS)) == first
    it.time.pass_by(seconds=PUBLISHED_BEFORE.total_seconds())
    [second] = [kid for kid in before if kid != first]
    assert kid_of(await it.keys.sign(CLAIMS)) == second


async def test_an_old_key_verifies_until_its_last_token_has_expired_and_is_then_destroyed(it: Gate) -> None:
    checks = verifier(it)
    await it.keys.sign(CLAIMS)
    it.time.pass_by(seconds=(SIGNS_FOR - PUBLISHED_BEFORE).total_seconds() + 61)
    await it.keys.jwks()
    it.time.pass_by(seconds=PUBLISHED_BEFORE.total_seconds() - 62)
    last = await it.keys.sign(CLAIMS)
    old = kid_of(last)
    it.time.pass_by(seconds=TOKEN_SECONDS - 5)
    assert kid_of(await it.keys.sign(CLAIMS)) != old
    assert (await checks.principal(f"Bearer {last}")).subject == "account:1"
    it.time.pass_by(seconds=KEPT_AFTER.total_seconds() + 61)
    assert old not in await kids(it.keys)
    async with it.running.database.reading() as session:
        stored = (await session.execute(select(col(SigningKey.kid)))).scalars()
        assert old not in set(stored)


async def test_after_a_long_rest_a_new_key_signs_at_once(it: Gate) -> None:
    await it.keys.sign(CLAIMS)
    it.time.pass_by(days=400)
    token = await it.keys.sign(CLAIMS)
    assert (await verifier(it).principal(f"Bearer {token}")).subject == "account:1"


async def test_a_gateway_whose_time_is_a_little_behind_signs_with_the_first_key(it: Gate) -> None:
    first = kid_of(await it.keys.sign(CLAIMS))
    it.time.pass_by(seconds=-5)
    assert kid_of(await it.keys.sign(CLAIMS)) == first


async def test_two_gateways_starting_at_once_make_one_key(it: Gate) -> None:
    several = [Keys(it.running.database, SECRET, it.time) for _ in range(5)]
    tokens = await asyncio.gather(*(keys.sign(CLAIMS) for keys in several))
    assert len({kid_of(token) for token in tokens}) == 1
    async with it.running.database.reading() as session:
        assert (await session.execute(select(func.count()).select_from(SigningKey))).scalar_one() == 1


async def test_after_a_change_of_the_secret_a_new_key_signs_and_old_tokens_stay_good(it: Gate) -> None:
    old = await it.keys.sign(CLAIMS)
    changed = Keys(it.running.database, "another secret", it.time)
    new = await changed.sign(CLAIMS)
    assert kid_of(new) != kid_of(old)
    checks = Verifier(changed.jwks, now=lambda: it.time().timestamp())
    for token in (old, new):
        assert (await checks.principal(f"Bearer {token}")).subject == "account:1"


async def test_known_keys_go_on_signing_while_the_database_is_away(
    it: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    await it.keys.sign(CLAIMS)

    async def away(*_: Any) -> Any:
        raise OSError("away")

    monkeypatch.setattr(it.keys, "_rotate", away)
    it.time.pass_by(minutes=5)
    assert await it.keys.sign(CLAIMS)
    fresh = Keys(it.running.database, SECRET, it.time)
    monkeypatch.setattr(fresh, "_rotate", away)
    with pytest.raises(OSError, match="away"):
        await fresh.sign(CLAIMS)


@pytest.mark.parametrize("forged", ["none", "cut", "other key", "changed", "public key", "bad header"])
async def test_what_we_did_not_sign_is_refused(it: Gate, forged: str) -> None:
    token = await it.keys.sign(CLAIMS)
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    other = (
        base64.urlsafe_b64encode(json.dumps(claims | {"roles": ["auditor"]}).encode()).decode().rstrip("=")
    )
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    crit = base64.urlsafe_b64encode(b'{"alg":"ES256","crit":5}').decode().rstrip("=")
    public = OctKey.import_key(json.dumps((await it.keys.jwks())["keys"][0]))
    stranger = ECKey.generate_key("P-256", parameters={"kid": kid_of(token)})
    bad = {
        "none": f"{none}.{payload}.",
        "cut": f"{head}.{payload}.{signature[:-4]}",
        "other key": jwt.encode({"alg": "ES256", "kid": kid_of(token)}, claims, stranger),
        "changed": f"{head}.{other}.{signature}",
        "public key": jwt.encode({"alg": "HS256", "kid": kid_of(token)}, claims, public),
        "bad header": f"{crit}.{payload}.{signature}",
    }[forged]
    answer = await it.client(bad).get("/v1/me")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
