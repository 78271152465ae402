"""What is logged can be joined and read by machines, and holds nobody's data."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.demo import uscc
from shared import logs, tracing
from shared.database import plain_url
from tests.ground import DAY, Alone, Databases, eventually, key
from tests.journeys.town import town
from tests.shared.test_delivery import admitted

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"
REQUEST = "request-of-the-test"
MARKS = {"traceparent": CALLER, "x-request-id": REQUEST}
BOX = {"name": "a", "phone": "1", "amount": "1.00"}


@dataclass
class Kept:
    """What was logged, as JSON, from the lowest level on: every library below us included."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, logger: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["logger"] == logger]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Logging as an installation with `json` and `debug` sets it up; afterwards it is as it was."""
    root, names = logging.getLogger(), (logs.OURS, "uvicorn")
    before = root.level, root.handlers[:], [logging.getLogger(name).level for name in names]
    found = Kept()
    logs.set_up("json", "debug")
    for handler in root.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(found.stream)
    yield found
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in zip(names, before[2], strict=True):
        logging.getLogger(name).setLevel(level)


# ── the line of a request ────────────────────────────────────────────────────────────────────────


async def test_every_request_has_one_line_with_operation_status_party_and_what_joins_it(
    it: Alone, kept: Kept
) -> None:
    bank = it.client("institution", party="0197-bank")
    await bank.post("/v1/boxes", json=BOX, headers=key() | MARKS)
    (line,) = kept.of("kechuang.access")
    assert line.pop("duration_ms") > 0
    assert line.pop("message").startswith("POST make_box 201 in ")
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "kechuang.access",
        "service": "roster",
        "trace_id": TRACE,
        "request_id": REQUEST,
        "operation": "make_box",
        "method": "POST",
        "status": 201,
        "party": "0197-bank",
    }


async def test_probes_have_no_line(it: Alone, kept: Kept) -> None:
    for path in ("/healthz", "/readyz"):
        await it.client().get(path)
    assert kept.of("kechuang.access") == []


async def test_the_audited_deed_and_the_line_have_the_same_request_id(it: Alone, kept: Kept) -> None:
    await it.client("office").post("/v1/boxes", json=BOX, headers=key())
    (line,) = kept.of("kechuang.access")
    async with it.running.database.reading() as session:
        deed = (await session.execute(text("SELECT entry->>'request_id' FROM audit"))).scalar_one()
    assert deed == line["request_id"]


async def test_what_goes_wrong_in_a_request_is_logged_in_its_trace(
    it: Alone, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("shared.database._close", broken)
    await it.client("office").post("/v1/boxes", json=BOX, headers=key() | MARKS)
    (error,) = kept.of("kechuang.problems")
    assert error["exception"].endswith("builtins.RuntimeError: broken on purpose\n")
    assert "in _command" in error["exception"]
    assert (error["service"], error["trace_id"], error["request_id"]) == ("roster", TRACE, REQUEST)
    (line,) = kept.of("kechuang.access")
    assert (line["status"], line["trace_id"]) == (500, TRACE)


async def test_what_goes_wrong_with_an_event_is_logged_by_its_service(it: Alone, kept: Kept) -> None:
    it.running.consumer.back_off_seconds = 0.001
    await it.hear(admitted("poison"))
    (buried,) = (r for r in kept.of("kechuang.inbox") if "is buried" in r["message"])
    assert buried["service"] == "roster"
    assert "builtins.ValueError: poison" in buried["exception"]


# ── nobody's data ────────────────────────────────────────────────────────────────────────────────

PERSONS = {"contact": "李会计", "legal_representative": "陈某某", "phone": "0573-85012345"}
PASSWORD = "pinghu-tide-1984"


async def test_no_name_phone_token_or_password_is_logged_of_a_registration_and_a_failed_sign_in(
    databases: Databases, kept: Kept
) -> None:
    code = uscc(7)
    async with town(databases) as city:
        await city.recognise([code], DAY)
        office = await city.office()
        async with city.client({"accept-language": "zh"}) as nobody:
            registered = await nobody.post("/v1/registrations", json={"uscc": code, **PERSONS}, headers=key())
            assert registered.status_code == 201
            activation = registered.json()["activation_code"]
            refused = await nobody.post("/v1/registrations", json={"uscc": 7, **PERSONS}, headers=key())
            assert refused.status_code == 422
            twice = await nobody.post("/v1/registrations", json={"uscc": code, **PERSONS}, headers=key())
            assert twice.status_code == 409
            account = {"name": "chenmoumou", "display_name": "陈某某", "roles": ["office"]}
            await office.post("/v1/accounts", account | {"password": PASSWORD})
            for password in (PASSWORD + "x", PASSWORD):
                body = {"name": "chenmoumou", "password": password}
                answer = await nobody.post("/v1/session", json=body)
            token = answer.json()["access_token"]
            forged = {"authorization": f"Bearer {token}x"}
            assert (await nobody.get("/v1/me", headers=forged)).status_code == 401
        await office.get("/v1/registrations", q="李会计")
        await city.settle()
    operations = {line["operation"] for line in kept.of("kechuang.access")}
    assert {"register_enterprise", "sign_in", "create_account"} <= operations
    secrets = (*PERSONS.values(), PASSWORD, "chenmoumou", activation, token, "Bearer", "eyJ")
    assert [secret for secret in secrets if secret in kept.text] == []


async def test_a_row_the_database_refuses_is_not_quoted(it: Alone, kept: Kept) -> None:
    """PostgreSQL's words (`Failing row contains …`) and SQLAlchemy's (`[parameters: …]`) stay out."""
    insert = text("INSERT INTO box (id, name, owner, phone) VALUES (NULL, 'n', 'o', CAST(:phone AS text))")
    with pytest.raises(DBAPIError) as refused:
        async with it.running.database.transaction() as session:
            await session.execute(insert, {"phone": PERSONS["phone"]})
    logging.getLogger("kechuang.test").error("refused", exc_info=refused.value)
    logging.getLogger("kechuang.test").warning("refused: %s", refused.value)
    logging.getLogger("kechuang.test").warning("refused: %r", refused.value)
    assert "null value in column" in kept.text
    assert PERSONS["phone"] not in kept.text


async def test_a_row_the_driver_refuses_is_not_quoted(it: Alone, kept: Kept) -> None:
    connection = await asyncpg.connect(plain_url(it.running.database.url))
    with pytest.raises(asyncpg.PostgresError) as refused:
        await connection.execute("INSERT INTO box (name, phone) VALUES ('n', $1)", PERSONS["phone"])
    await connection.close()
    assert PERSONS["phone"] in str(refused.value), "this is what must not be logged"
    log = logging.getLogger("kechuang.test")
    log.error("refused", exc_info=refused.value)
    log.warning("paused: %s; %r", refused.value, refused.value)
    assert "null value in column" in kept.text
    assert PERSONS["phone"] not in kept.text


def test_the_input_a_validation_refuses_is_not_quoted(kept: Kept) -> None:
    class Person(BaseModel):
        phone: int

    with pytest.raises(ValueError, match="0573") as refused:
        Person.model_validate({"phone": PERSONS["phone"]})
    logging.getLogger("kechuang.test").error("not valid", exc_info=refused.value)
    (record,) = kept.records
    assert "int_parsing at phone" in record["exception"]
    assert PERSONS["phone"] not in kept.text


def test_libraries_below_are_silent_but_for_warnings(kept: Kept) -> None:
    for name in ("sqlalchemy.engine", "aiokafka.producer", "httpx", "asyncio", "opentelemetry"):
        logging.getLogger(name).info("values")
        logging.getLogger(name).debug("values")
        logging.getLogger(name).warning("about %s", name)
    assert "values" not in kept.text
    assert len(kept.records) == 5


# ── forms ────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_is_told_with_all_that_led_to_it(kept: Kept) -> None:
    both = ExceptionGroup("both", [ValueError("the second"), KeyError("third")])
    both.__cause__ = OSError("the first")
    with pytest.raises(ExceptionGroup) as raised:
        raise both
    logging.getLogger("kechuang.test").error("it went wrong", exc_info=raised.value)
    (record,) = kept.records
    for words in ("OSError: the first", "which led to", "ValueError: the second", "KeyError: 'third'"):
        assert words in record["exception"]
    assert "test_logs.py" in record["exception"]


def test_people_read_lines(capsys: pytest.CaptureFixture[str], kept: Kept) -> None:
    logs.set_up("text", "info")
    token = tracing.service.set("lending")
    logging.getLogger("kechuang.test").info("on the way")
    logging.getLogger("kechuang.test").debug("too much")
    logging.getLogger("httpx").info("too much")
    tracing.service.reset(token)
    assert capsys.readouterr().err.endswith(" INFO kechuang.test: on the way\n")


async def test_a_line_is_one_line_whatever_it_says(kept: Kept) -> None:
    logging.getLogger("kechuang.test").warning("two\nlines “贷” and a tab\t")
    (record,) = kept.records
    assert record["message"] == "two\nlines “贷” and a tab\t"
    assert "贷" in kept.text, "Chinese is readable as it stands"


async def test_background_work_is_logged_in_the_name_of_its_service(
    it: Alone, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise httpx.ConnectError("away")

    monkeypatch.setattr(it.bus, "publish", broken)
    await it.client("office").post("/v1/boxes", json=BOX, headers=key())

    async def paused() -> list[dict[str, Any]]:
        return [record for record in kept.of("kechuang.outbox") if "relay paused" in record["message"]]

    assert {record["service"] for record in await eventually(paused)} == {"roster"}
