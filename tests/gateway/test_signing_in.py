"""People sign in: one answer in one time, lock-out, audit."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select, text

from services.gateway.account import Account, Failures
from services.gateway.keys import utc_now
from services.gateway.lockout import FAILURES_ALLOWED, LOCKED_FOR, forget_old_failures
from services.gateway.passwords import NOBODYS, WAITING_ALLOWED, Passwords
from shared.database import instrument
from shared.problems import Unavailable
from tests.gateway.gate import PASSWORD, Gate


async def test_the_right_password_gets_a_token_that_works(it: Gate) -> None:
    made = await it.account()
    answer = await it.sign_in()
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["roles"]) == ("Bearer", 900, ["office"])
    me = (await it.client(body["access_token"]).get("/v1/me")).json()
    assert me == {
        "subject": f"account:{made['id']}",
        "name": "Chen",
        "roles": ["office"],
        "party": None,
        "machine": False,
    }


async def test_unknown_names_wrong_passwords_and_closed_accounts_get_one_answer(it: Gate) -> None:
    await it.account()
    closed = await it.account("lin")
    await (await it.office()).post(f"/v1/accounts/{closed['id']}/deactivation")
    invited = {"name": "wang", "display_name": "Wang", "roles": ["auditor"]}
    assert (await (await it.office()).post("/v1/accounts", json=invited)).status_code == 201
    wrong = await it.sign_in(password="not the password")
    answers = [await it.sign_in("nobody"), await it.sign_in("lin"), await it.sign_in("wang")]
    assert wrong.status_code == 401
    assert {answer.content for answer in answers} == {wrong.content}


async def test_an_unknown_name_costs_the_same_work(it: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a measured time but what takes it: one argon2 check and one transaction each."""
    await it.account()
    checked: list[str] = []
    original = PasswordHasher.verify

    def verify(self: PasswordHasher, hash: Any, password: Any) -> Any:
        checked.append(str(hash))
        return original(self, hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    statements: list[list[str]] = []
    instrument(it.running.database.engine.sync_engine, lambda s: statements[-1].append(s.split(" ")[0]))
    for name in ("chen", "nobody"):
        statements.append([])
        await it.sign_in(name, "not the password")
    mine = [[s for s in seen if s in ("INSERT", "UPDATE", "DELETE")] for seen in statements]
    assert checked[1] == NOBODYS
    assert len(checked) == 2
    assert "INSERT" in mine[0]
    assert mine[0] == mine[1]


@pytest.mark.parametrize("name", ["chen", "nobody"])
async def test_five_wrong_passwords_lock_the_name_known_or_not(it: Gate, name: str) -> None:
    await it.account()
    for _ in range(FAILURES_ALLOWED):
        assert (await it.sign_in(name, "not the password")).status_code == 401
    locked = await it.sign_in(name)
    assert locked.status_code == 429
    assert locked.headers["retry-after"] == str(int(LOCKED_FOR.total_seconds()))
    assert locked.json()["type"] == "/problems/too-many-failures"


async def test_the_lock_opens_by_itself_and_counting_begins_anew(it: Gate) -> None:
    await it.account()
    for _ in range(FAILURES_ALLOWED):
        await it.sign_in(password="not the password")
    it.time.pass_by(seconds=LOCKED_FOR.total_seconds() - 1)
    assert (await it.sign_in()).status_code == 429
    it.time.pass_by(seconds=2)
    for _ in range(FAILURES_ALLOWED - 1):
        assert (await it.sign_in(password="not the password")).status_code == 401
    assert (await it.sign_in()).status_code == 201
    for _ in range(FAILURES_ALLOWED - 1):
        assert (await it.sign_in(password="not the password")).status_code == 401
    assert (await it.sign_in()).status_code == 201


async def test_parallel_guesses_cannot_outrun_the_count(it: Gate) -> None:
    await it.account()
    guesses = [it.sign_in(password=f"guess number {n}") for n in range(4 * FAILURES_ALLOWED)]
    statuses = [answer.status_code for answer in await asyncio.gather(*guesses)]
    assert statuses.count(401) == FAILURES_ALLOWED
    assert statuses.count(429) == 3 * FAILURES_ALLOWED


async def test_twenty_right_ones_at_once_all_come_in(it: Gate) -> None:
    await it.account()
    answers = await asyncio.gather(*(it.sign_in() for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}


async def test_every_attempt_is_audited_without_name_or_password_of_strangers(it: Gate) -> None:
    made = await it.account()
    await it.sign_in(password="not the password")
    await it.sign_in()
    await it.sign_in("my-secret-typed-in-the-wrong-field", "whatever")
    async with it.running.database.reading() as session:
        rows = await session.execute(text("SELECT entry FROM audit WHERE operation = 'sign_in' ORDER BY id"))
        entries = list(rows.scalars())
        everything = str(
            (await session.execute(text("SELECT array_agg(f::text) FROM sign_in_failures f"))).one()
        )
    account = f"account:{made['id']}"
    assert [(e["subject"], e["changes"][0]["right"]) for e in entries] == [
        (account, False),
        (account, True),
        ("nobody", False),
    ]
    assert "my-secret" not in str(entries) + everything
    assert PASSWORD not in str(entries)


async def test_a_hash_of_weaker_parameters_is_renewed_at_the_next_sign_in(it: Gate) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    made = await it.account()
    async with it.running.database.transaction() as session:
        (await session.get_one(Account, UUID(made["id"]))).password_hash = weak
    assert (await it.sign_in()).status_code == 201
    async with it.running.database.reading() as session:
        kept = (await session.get_one(Account, UUID(made["id"]))).password_hash
    assert kept is not None
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await it.sign_in()).status_code == 201


async def test_a_flood_of_sign_ins_is_turned_away_and_not_queued_for_ever() -> None:
    passwords = Passwords()
    passwords._waiting = WAITING_ALLOWED
    with pytest.raises(Unavailable):
        await passwords.match(None, "whatever")
    passwords._waiting = 0
    assert await passwords.match(None, "nobody has this password") is False


async def test_failures_of_long_ago_are_forgotten(it: Gate) -> None:
    it.time.at = utc_now()
    await it.sign_in("nobody", "x")
    it.time.pass_by(days=-2)
    await it.sign_in("long-ago", "x")
    async with it.running.database.transaction() as session:
        await forget_old_failures(session, None)
    async with it.running.database.reading() as session:
        assert (await session.execute(select(func.count()).select_from(Failures))).scalar_one() == 1


async def test_the_loop_goes_on_while_passwords_are_checked(it: Gate) -> None:
    """While argon2 works in its thread, this loop turns."""
    await it.account()
    turns = 0
    signing_in = asyncio.create_task(it.sign_in())
    while not signing_in.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await signing_in).status_code == 201
    assert turns > 100
