"""A filled installation is moved from the one-process form to the production form and back, and the
journeys go on where they were: real roles, a real broker, the command itself.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.kafka.broker import Broker
from services.city import SERVICES, city
from services.demo import uscc
from services.moving import tables
from services.moving.side import Side
from services.run import DATABASES, make_bus
from shared.bus import Outgoing
from shared.clock import SandboxClock
from shared.database import new_id, plain_url
from shared.embedded_postgres import EmbeddedPostgres
from shared.events import LENDING, TOPICS
from shared.measures.weave import ROOT
from shared.outbox import Relay
from shared.postgres_folder import programs_of_wheel
from shared.settings import Settings
from tests.conftest import open_folder
from tests.ground import DAY, session_client
from tests.journeys.town import Actor, Town

PASSWORD = "only-for-tests"
MATURED = DAY + timedelta(days=460)


def command(*arguments: str, **environment: str) -> tuple[int, str]:
    """`python -m services …` as an operator runs it; its exit status and what it said."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("KECHUANG_")}
    done = subprocess.run(
        [sys.executable, "-m", "services", *arguments],
        cwd=ROOT,
        env=plain | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


class Production:
    """A PostgreSQL with the roles of deploy/postgres/roles.sh, a broker, and the settings of both."""

    def __init__(self, postgres: EmbeddedPostgres, broker: Broker, folder: Path, secret: str) -> None:
        self.postgres = postgres
        self.file = folder / "production.env"
        make_roles(postgres)
        log = [
            "KECHUANG_BUS=kafka",
            f"KECHUANG_KAFKA_SERVERS={broker.servers}",
            "KECHUANG_KAFKA_PARTITIONS=3",
        ]
        urls = [f"KECHUANG_{name.upper()}_DATABASE_URL={self.url(name, 'operator')}" for name in SERVICES]
        self.file.write_text("\n".join([*urls, *log, f"KECHUANG_SECRET={secret}", ""]), "utf-8")

    def url(self, name: str, role: str = "") -> str:
        """A database by the role of its service, or by the operator's, which acts as that role."""
        return self.postgres.url(name).replace("//postgres@", f"//{role or name}:{PASSWORD}@")

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.file.read_text("utf-8").split())

    @property
    def settings(self) -> Settings:
        """What the services run with: each its own role."""
        told = {name.removeprefix("KECHUANG_").lower(): value for name, value in self.environment.items()}
        own = {f"{name}_database_url": self.url(name) for name in SERVICES}
        return Settings.model_validate(told | own | {"sandbox": True, "database_pool": 6})


def make_roles(postgres: EmbeddedPostgres) -> None:
    """What the first start of the production form does, by its own script."""
    passwords = {f"{name.upper()}_DATABASE_PASSWORD": PASSWORD for name in (*SERVICES, "operator", "backup")}
    where = {"PGHOST": str(postgres._sockets), "PGPORT": "5432", "PGUSER": "postgres"}
    path = {"PATH": f"{programs_of_wheel()}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", str(ROOT / "deploy/postgres/roles.sh")],
        env=path | where | passwords,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    with open_folder() as folder, EmbeddedPostgres(folder, durable=False) as running:
        yield running


async def held(one: Side) -> dict[str, tables.Contents]:
    """What every table of the installation holds; of databases without tables, nothing."""
    found: dict[str, tables.Contents] = {}
    for name in SERVICES:
        connection = await asyncpg.connect(plain_url(one.settings.database_url(name)))
        try:
            told = await tables.contents(connection, await tables.tables(connection))
        finally:
            await connection.close()
        found |= {f"{name}.{table}": contents for table, contents in told.items()}
    return found


@asynccontextmanager
async def at_work(settings: Settings, today: date) -> AsyncIterator[Town]:
    """The four services on these databases and this bus, until the block ends."""
    bus, clock = make_bus(settings), SandboxClock(today)
    await bus.start()
    try:
        async with city(settings, clock, bus) as running:
            it = Town(running, clock, bus)
            await it.move_to(today)
            yield it
            for actor in it.people.values():
                await actor.client.aclose()
    finally:
        await bus.close()


@asynccontextmanager
async def one_process(folder: Path, today: date) -> AsyncIterator[Town]:
    """The one-process form on its data folder."""
    secret = (folder / "secret").read_text("utf-8")
    with EmbeddedPostgres(folder, durable=False) as server:
        urls = {f"{name}_database_url": server.url(name) for name in DATABASES}
        told = {**urls, "data": folder, "secret": secret, "sandbox": True, "database_pool": 6}
        async with at_work(Settings.model_validate(told), today) as it:
            yield it


def filled(folder: Path) -> str:
    """A new installation in the folder, as `migrate` makes it; its secret."""
    status, said = command("migrate", KECHUANG_DATA=str(folder))
    assert status == 0, said
    return (folder / "secret").read_text("utf-8")


async def begun(it: Town, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A loan that is owed, a poisoned record in the dead letters, a record that was sent twice, and a
    fact that is still in the outbox."""
    code = uscc(700_001)
    await it.recognise([code], DAY - timedelta(days=400))
    bank, enterprise = await it.bank(1), await it.enterprise(code)
    finance = await it.finance()
    await finance.post("/v1/fund/appropriations", {"amount": "9000000.00", "document": "平财预1号"})
    await it.settle()
    loan = await it.loan(enterprise, bank, "1000000.00")
    part = {"reference": "R-1", "principal": "200000.00", "interest": "0.00", "value_date": DAY.isoformat()}
    await bank.post(f"/v1/loans/{loan['id']}/repayments", part)
    await it.settle()
    for name in SERVICES:
        it.running(name).consumer.back_off_seconds = 0.001
    poison = Outgoing(
        LENDING, loan["id"], new_id(), "LoanSettled", it.clock.now(), "00-aa-bb-01", b'{"no": 1}'
    )
    await it.bus.publish([poison, poison])
    await it.settle()
    await it.move_to(MATURED)
    await it.settle()

    async def publish_nothing(_relay: Relay, _connection: Any) -> None:
        pass

    monkeypatch.setattr(Relay, "_publish_waiting", publish_nothing)
    await it.report(bank, loan["id"])
    monkeypatch.undo()
    return {"loan": loan, "token": bank.client.headers["authorization"], "bank": bank.party}


async def in_outbox(url: str) -> int:
    connection = await asyncpg.connect(plain_url(url))
    try:
        return int(await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"))
    finally:
        await connection.close()


async def told(it: Town) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    """The log: of each key, its records in their order."""
    found: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    async for batch in it.bus.history(TOPICS):
        for r in batch:
            found.setdefault((r.topic, r.key), []).append((r.event_id, r.type, r.time, r.trace, r.data))
    return found


async def letters(it: Town) -> set[tuple[Any, ...]]:
    return {(x.group, x.record.event_id, x.error, x.attempts) for x in await it.bus.dead_letters(LENDING)}


async def votes(it: Town, claim: dict[str, Any]) -> dict[str, Any]:
    for member in await it.members():
        ballot = {"choice": "approve", "figures": claim["figures"]}
        await member.post(f"/v1/claims/{claim['id']}/ballots", ballot)
    office = await it.office()
    decided: dict[str, Any] = await office.get(f"/v1/claims/{claim['id']}")
    return decided


@pytest.mark.kafka
async def test_a_loan_s_journey_begun_in_one_process_goes_on_in_production_and_ends_back_in_one_process(
    data_folder: Path,
    server: EmbeddedPostgres,
    own_broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = data_folder / "first", data_folder / "second"
    production = Production(server, own_broker, data_folder, filled(first))
    async with one_process(first, DAY) as it:
        story = await begun(it, monkeypatch)
        log, buried = await told(it), await letters(it)
    assert len(buried) == 2

    status, said = await asyncio.to_thread(
        command, "move", "--from", str(first), "--to", str(production.file)
    )
    assert status == 0, said
    assert await in_outbox(production.url("lending")) == 1
    async with at_work(production.settings, MATURED) as it:
        for name in SERVICES:
            it.running(name).consumer.back_off_seconds = 0.001
        await it.settle()
        goes_on = await told(it)
        assert {key: goes_on[key][: len(records)] for key, records in log.items()} == log
        assert await letters(it) == buried, "what was buried is not tried anew"
        client = session_client(it.city.gateway, {"authorization": story["token"]})
        bank = Actor(client, story["bank"])
        claim = await it.claim(bank, story["loan"]["id"])
        claim = await votes(it, claim)
        assert claim["state"] == "approved"
        await client.aclose()
        await it.settle()
    for tool in ("check", "replay"):
        status, said = await asyncio.to_thread(lambda t: command(t, **production.environment), tool)
        assert status == 0, said

    status, said = await asyncio.to_thread(
        command, "move", "--from", str(production.file), "--to", str(second)
    )
    assert status == 0, said
    async with one_process(second, MATURED) as it:
        await it.settle()
        assert await letters(it) == buried
        finance = await it.finance()
        voucher = {"paid_on": MATURED.isoformat(), "voucher": "V-1"}
        await finance.post(f"/v1/claims/{claim['id']}/payments", voucher)
        await it.settle()
        client = session_client(it.city.gateway, {"authorization": story["token"]})
        loan = await Actor(client).get(f"/v1/loans/{story['loan']['id']}")
        await client.aclose()
        assert loan["state"] == "overdue"
    for tool in ("check", "replay"):
        status, said = await asyncio.to_thread(lambda t: command(t, KECHUANG_DATA=str(second)), tool)
        assert status == 0, said


# ── the command by itself, from folder to folder ─────────────────────────────────────────────────


async def town_with_a_bank(folder: Path) -> None:
    filled(folder)
    async with one_process(folder, DAY) as it:
        await it.bank(1)
        await it.settle()


async def holds(folder: Path) -> dict[str, Any]:
    with EmbeddedPostgres(folder, durable=False) as server:
        urls = {f"{name}_database_url": server.url(name) for name in DATABASES}
        return await held(Side("", Settings.model_validate(urls), folder))


async def test_killed_in_the_middle_it_is_repeated_with_the_same_words(data_folder: Path) -> None:
    first, second = data_folder / "first", data_folder / "second"
    await town_with_a_bank(first)
    before = await holds(first)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("KECHUANG_")}
    words = ("move", "--from", str(first), "--to", str(second))
    moving = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services", *words), cwd=ROOT, env=plain, stdout=asyncio.subprocess.PIPE
    )
    assert moving.stdout is not None
    assert b"roster" in await moving.stdout.readline()
    moving.kill()
    assert await moving.wait() == -9
    assert await holds(first) == before
    status, said = await asyncio.to_thread(command, *words)
    assert status == 0, said
    assert await holds(second) == before == await holds(first)
    assert (second / "secret").read_text("utf-8") == (first / "secret").read_text("utf-8")


async def test_a_running_one_process_form_is_not_moved_and_says_so_in_one_line(data_folder: Path) -> None:
    first = data_folder / "first"
    filled(first)
    with EmbeddedPostgres(first, durable=False):
        status, said = await asyncio.to_thread(
            command, "move", "--from", str(first), "--to", str(data_folder / "second")
        )
    assert status == 1
    assert said.splitlines()[-1].startswith(
        f"the data folder {first} is in use by another process: stop that"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the other side by --from or --to"),
        (("--from", "nowhere"), "nowhere holds no installation"),
        (("--from", "pyproject.toml"), "names neither KECHUANG_DATA nor the services' databases"),
    ],
)
def test_what_cannot_be_moved_says_so_in_one_line(
    data_folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    status, said = command("move", *arguments, KECHUANG_DATA=str(data_folder))
    assert status == 1
    assert words in said.splitlines()[-1]
