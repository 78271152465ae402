"""One request, one transaction: what `Route` promises of every command."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from pydantic import StringConstraints, TypeAdapter, ValidationError
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared import audit
from shared.clock import SANDBOX_DAY
from shared.events import GuarantorAdmitted
from shared.plumbing import audit as audit_table
from shared.plumbing import idempotency, outbox
from shared.problems import explain
from tests.ground import Alone, eventually, key
from tests.shared.toy import Box


def box(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "phone": "13800000000", "amount": "1.00"} | more


async def count(it: Alone, table: Any) -> int:
    async with it.running.database.reading() as session:
        return int((await session.execute(select(func.count()).select_from(table))).scalar_one())


async def test_a_command_commits_rows_event_and_audit_together(it: Alone) -> None:
    made = await it.client("office").post("/v1/boxes", json=box())
    assert made.status_code == 201
    assert await count(it, Box) == await count(it, outbox) == await count(it, audit_table) == 1
    [event] = await it.announced(GuarantorAdmitted)
    assert str(event.guarantor_id) == made.json()["id"]


async def test_who_gets_no_connection_in_time_is_told_to_come_again(
    it: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = it.running.database.engine
    monkeypatch.setattr(engine.pool, "_timeout", 0.05)
    async with AsyncExitStack() as held:
        with suppress(PoolTimeout):
            while True:
                await held.enter_async_context(engine.connect())
        for answer in (
            await it.client("office").post("/v1/boxes", json=box()),
            await it.client("office").get(f"/v1/heard/{UUID(int=1)}"),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert await count(it, Box) == 0


async def test_a_refused_command_leaves_nothing(it: Alone) -> None:
    office = it.client("office")
    await office.post("/v1/boxes", json=box())
    refused = await office.post("/v1/boxes", json=box())
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["rule"] == "R-25"
    assert refused.json()["type"] == "/problems/box-named-twice"
    assert await count(it, outbox) == await count(it, audit_table) == 1


async def test_problems_speak_the_language_asked_for(it: Alone) -> None:
    zh = await it.client("office", language="zh-CN,zh;q=0.9,en;q=0.5").post("/v1/boxes", json={})
    en = await it.client("office", language="en").post("/v1/boxes", json={})
    assert zh.json()["title"] == "填写有误"
    assert en.json()["title"] == "Invalid input"
    assert {error["pointer"] for error in en.json()["errors"]} == {"#/name", "#/phone", "#/amount"}


async def test_a_wrong_input_is_never_echoed(it: Alone) -> None:
    answer = await it.client("office").post("/v1/boxes", json=box(phone=13800000001, amount=5))
    assert answer.status_code == 422
    assert "13800000001" not in answer.text
    assert {error["pointer"] for error in answer.json()["errors"]} == {"#/phone", "#/amount"}


async def test_a_nul_character_is_wrong_input_and_no_failure_of_ours(it: Alone) -> None:
    answer = await it.client("office").post("/v1/boxes", json=box("a\x00b"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "NUL" in answer.json()["detail"]
    assert await count(it, Box) == 0


@pytest.mark.parametrize(
    ("value", "zh", "en"),
    [
        ("", "至少 1 个字（首尾空格不计）", "must have 1 or more characters"),
        ("abcd", "最多 3 个字", "must have at most 3 characters"),
        (5, "应为文字", "must be a string"),
    ],
)
def test_what_is_wrong_with_a_member_is_said_in_both_languages(value: Any, zh: str, en: str) -> None:
    short = TypeAdapter(Annotated[str, StringConstraints(min_length=1, max_length=3)])
    with pytest.raises(ValidationError) as wrong:
        short.validate_python(value)
    told = [explain(wrong.value.errors(), language)[0]["detail"] for language in ("zh", "en")]
    assert told == [zh, en]


async def test_the_same_key_and_body_is_answered_from_what_was_kept(it: Alone) -> None:
    office, header = it.client("office"), key()
    first = await office.post("/v1/boxes", json=box(), headers=header)
    again = await office.post("/v1/boxes", json=box(), headers=header)
    quoted = await office.post(
        "/v1/boxes", json=box(), headers={"idempotency-key": f'"{header["idempotency-key"]}"'}
    )
    assert first.status_code == again.status_code == quoted.status_code == 201
    assert first.content == again.content == quoted.content
    assert again.headers["idempotent-replayed"] == "true"
    assert await count(it, Box) == 1


async def test_a_key_is_known_whatever_secret_the_process_was_given(it: Alone) -> None:
    """The production form gives the secret to the gateway alone; the one-process form has it everywhere."""
    office, header = it.client("office"), key()
    first = await office.post("/v1/boxes", json=box(), headers=header)
    it.running.settings = it.running.settings.model_copy(update={"secret": "of another form"})
    again = await office.post("/v1/boxes", json=box(), headers=header)
    assert (again.status_code, again.content) == (first.status_code, first.content)


async def test_the_same_key_with_another_body_is_refused(it: Alone) -> None:
    office, header = it.client("office"), key()
    await office.post("/v1/boxes", json=box(), headers=header)
    other = await office.post("/v1/boxes", json=box("b"), headers=header)
    assert other.status_code == 422
    assert other.json()["type"] == "/problems/key-reused"


async def test_a_key_belongs_to_its_caller(it: Alone) -> None:
    header = key()
    await it.client("institution", party="one").post("/v1/boxes", json=box("a"), headers=header)
    other = await it.client("institution", party="two").post("/v1/boxes", json=box("b"), headers=header)
    assert other.status_code == 201


async def test_a_refusal_does_not_use_up_the_key(it: Alone) -> None:
    office, header = it.client("office"), key()
    assert (await office.post("/v1/boxes", json={}, headers=header)).status_code == 422
    assert (await office.post("/v1/boxes", json=box(), headers=header)).status_code == 201


async def test_fifty_twins_at_once_are_one_box(it: Alone) -> None:
    office, header = it.client("office"), key()
    answers = await asyncio.gather(*(office.post("/v1/boxes", json=box(), headers=header) for _ in range(50)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert await count(it, Box) == await count(it, idempotency) == 1
    assert (await office.post("/v1/boxes", json=box(), headers=header)).status_code == 201


async def test_fifty_of_one_name_at_once_are_one_box_and_refusals_by_the_rule(it: Alone) -> None:
    office = it.client("office")
    answers = await asyncio.gather(*(office.post("/v1/boxes", json=box(), headers=key()) for _ in range(50)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] + [409] * 49
    assert {a.json()["rule"] for a in answers if a.status_code == 409} == {"R-25"}


async def test_machine_clients_must_send_a_key(it: Alone) -> None:
    machine = it.client("institution", party="one", machine=True)
    without = await machine.post("/v1/boxes", json=box())
    assert without.status_code == 400
    assert without.json()["type"] == "/problems/key-required"
    assert (await machine.post("/v1/boxes", json=box(), headers=key())).status_code == 201


async def test_another_partys_case_looks_as_if_it_did_not_exist(it: Alone) -> None:
    made = await it.client("institution", party="one").post("/v1/boxes", json=box())
    other = it.client("institution", party="two")
    theirs = await other.post(f"/v1/boxes/{made.json()['id']}/weighing")
    none = await other.post("/v1/boxes/01900000-0000-7000-8000-000000000000/weighing")
    assert theirs.status_code == none.status_code == 404
    assert theirs.json()["type"] == none.json()["type"]


async def test_without_a_permission_row_nobody_gets_through(it: Alone) -> None:
    assert (await it.client().post("/v1/boxes", json=box())).status_code == 401
    assert (await it.client("auditor").post("/v1/boxes", json=box())).status_code == 403


async def test_forged_expired_and_foreign_tokens_are_refused(it: Alone) -> None:
    now = int(time.time())
    claims = {
        "iss": "kechuang",
        "aud": "kechuang",
        "sub": "x",
        "roles": ["office"],
        "iat": now,
        "exp": now + 60,
    }
    stranger = ECKey.generate_key("P-256", parameters={"kid": "test"})
    tokens = {
        "forged": jwt.encode({"alg": "ES256", "kid": "test"}, claims, stranger),
        "expired": jwt.encode({"alg": "ES256", "kid": "test"}, claims | {"exp": now - 60}, it.issuer.key),
        "for others": jwt.encode({"alg": "ES256", "kid": "test"}, claims | {"aud": "bank"}, it.issuer.key),
        "no token": "abc",
    }
    for what, token in tokens.items():
        answer = await it.client().post("/v1/boxes", json=box(), headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 401, what


async def test_the_database_failing_at_commit_is_never_answered_as_done(
    it: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_session: object) -> bool:
        raise OSError("the disk is gone")

    monkeypatch.setattr("shared.database._close", broken)
    answer = await it.client("office").post("/v1/boxes", json=box())
    assert answer.status_code == 500
    assert await count(it, Box) == 0


async def test_r81_the_audit_row_says_who_did_what_before_and_after(it: Alone) -> None:
    made = await it.client("institution", party="one").post("/v1/boxes", json=box())
    await it.client("institution", party="one").post(f"/v1/boxes/{made.json()['id']}/weighing")
    async with it.running.database.reading() as session:
        first, second = (await session.execute(select(audit_table).order_by(audit_table.c.id))).all()
    assert first.entry["operation"] == "make_box"
    assert first.entry["party"] == "one"
    assert first.refs == [made.json()["id"]]
    assert first.entry["changes"][0]["after"]["phone"] == "***"
    assert second.entry["changes"][0]["before"] == {"weight": 0}
    assert second.entry["changes"][0]["after"] == {"weight": 1}


async def sealed(it: Alone) -> list[str]:
    async def all_sealed() -> bool:
        async with it.running.database.reading() as session:
            waiting = select(func.count()).where(audit_table.c.seal_no.is_(None))
            return (await session.execute(waiting)).scalar_one() == 0

    await eventually(all_sealed, "every audit row sealed")
    return await audit.verify(it.running.database, datetime.now(UTC))


async def test_r81_rows_are_sealed_in_a_chain_that_holds(it: Alone) -> None:
    for name in "abcde":
        await it.client("office").post("/v1/boxes", json=box(name))
    assert await sealed(it) == []


async def test_r81_a_changed_or_removed_row_is_found(it: Alone) -> None:
    for name in "abcde":
        await it.client("office").post("/v1/boxes", json=box(name))
    await sealed(it)
    async with it.running.database.transaction() as session:
        await session.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        changed = audit_table.c.seal_no == 2
        await session.execute(update(audit_table).where(changed).values(refs=["somebody-else"]))
        await session.execute(text("DELETE FROM audit WHERE seal_no = 4"))
    faults = await audit.verify(it.running.database, datetime.now(UTC))
    assert len(faults) == 3
    assert "row 2" in faults[0]
    assert faults[1] == "rows 4 to 4 are gone"
    assert "row 5" in faults[2]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET refs = '{}'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "UPDATE audit SET seal_no = NULL",
    ],
)
async def test_r81_the_audit_log_is_append_only(it: Alone, statement: str) -> None:
    await it.client("office").post("/v1/boxes", json=box())
    await sealed(it)
    with pytest.raises(DBAPIError, match="append-only"):
        async with it.running.database.transaction() as session:
            await session.execute(text(statement))


async def test_every_operation_documents_its_refusals_and_its_permissions(it: Alone) -> None:
    document = it.app.openapi()
    operation = document["paths"]["/v1/boxes"]["post"]
    assert {"401", "403", "409", "422"} <= set(operation["responses"])
    assert operation["x-permissions"] == {"office": "all", "institution": "own"}
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_in_a_sandbox_a_request_of_a_later_day_moves_the_clock_of_a_replica_that_has_not_heard(
    it: Alone,
) -> None:
    client = it.client("office")
    for told, today in (("2026-06-01", "2026-06-01"), ("2026-05-01", "2026-06-01")):
        await client.get(f"/v1/heard/{UUID(int=1)}", headers={SANDBOX_DAY: told})
        assert it.clock.today().isoformat() == today
