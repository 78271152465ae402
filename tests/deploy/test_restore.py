"""The rehearsal of the disaster: real work, a base backup, more work, the machine lost, a restore to a
moment, the facts sent once more into a fresh log. Nothing of before the moment is lost, nothing is doubled,
nothing of after it stays.

The log lies elsewhere than the databases, as Kafka does: it is not restored with them. Told with the log in a
PostgreSQL of its own and, at full size, with a real Kafka.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest

from deploy.kafka.broker import Broker
from services import city, operate
from services.demo import uscc
from services.republishing import republish
from services.run import make_bus
from shared.clock import SandboxClock
from shared.database import plain_url
from shared.events import TOPICS
from shared.postgres_bus import PostgresBus
from shared.settings import Settings
from tests.deploy.archived import Archived, archived
from tests.ground import DAY, Databases, eventually
from tests.journeys.town import Actor, Town

TECHNICAL = {"outbox", "inbox", "audit", "idempotency", "business_day"}
"""Not business: tables that the way of a fact itself moves."""


class LogInPostgres:
    """The log in a PostgreSQL of its own."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases
        self.settings: dict[str, Any] = {}

    async def begin(self) -> None:
        self.settings = {"bus_database_url": await self.databases.fresh(None, "bus")}

    async def begin_anew(self) -> None:
        await self.end()
        await self.begin()

    async def end(self) -> None:
        await self.databases.drop(self.settings["bus_database_url"])


class LogInKafka:
    """A broker of the test's own."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.settings: dict[str, Any] = {"bus": "kafka", "kafka_servers": broker.servers}

    async def begin(self) -> None: ...

    async def begin_anew(self) -> None:
        """`docker volume rm`: topics, places and all."""
        self.broker.stop()
        shutil.rmtree(self.broker.folder / "data")
        self.broker.start()

    async def end(self) -> None: ...


@pytest.fixture(params=["postgres", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.large])])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[LogInPostgres | LogInKafka]:
    made: LogInPostgres | LogInKafka
    if request.param == "kafka":
        made = LogInKafka(request.getfixturevalue("own_broker"))
    else:
        made = LogInPostgres(request.getfixturevalue("databases"))
    await made.begin()
    yield made
    await made.end()


def settings_of(it: Archived, log: LogInPostgres | LogInKafka) -> Settings:
    urls = {f"{name}_database_url": it.server.url(name) for name in city.SERVICES}
    told: dict[str, Any] = {"sandbox": True, "secret": "only for tests", "database_pool": 6}
    return Settings.model_validate({**urls, **told, **log.settings})


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Town]:
    """The town on databases that are there, and this log."""
    async with AsyncExitStack() as stack:
        bus = make_bus(settings)
        await bus.start()
        stack.push_async_callback(bus.close)
        clock = SandboxClock(DAY)
        running = await stack.enter_async_context(city.city(settings, clock, bus))
        it = Town(running, clock, cast(PostgresBus, bus))
        await it.move_to(DAY)
        yield it
        for actor in it.people.values():
            await actor.client.aclose()


async def rows(url: str, question: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(plain_url(url))
    try:
        return [tuple(row) for row in await connection.fetch(question)]
    finally:
        await connection.close()


async def business(settings: Settings, name: str) -> dict[str, list[str]]:
    """Every row of a service's own tables, as text."""
    service, url = city.SERVICES[name], settings.database_url(name)
    return {
        table: sorted(str(row[0]) for row in await rows(url, f'SELECT t::text FROM "{table}" t'))
        for table in service.metadata.tables
        if table not in TECHNICAL
    }


async def outbox(settings: Settings, name: str) -> list[tuple[Any, ...]]:
    return await rows(settings.database_url(name), "SELECT event_id, type, key FROM outbox ORDER BY seq")


class Held:
    """Keeps a service from taking in what it hears, until let go: a reader that lags behind."""

    def __init__(self, town: Town, service: str) -> None:
        consumer = town.running(service).consumer
        self._take, self._go = consumer.take, asyncio.Event()
        consumer.take = self._wait  # type: ignore[method-assign]

    async def _wait(self, records: Sequence[Any]) -> None:
        await self._go.wait()
        await self._take(records)

    def let_go(self) -> None:
        self._go.set()


async def published(settings: Settings, name: str) -> bool:
    waiting = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
    return await rows(settings.database_url(name), waiting) == [(0,)]


async def told_in(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """What the log holds: each key's facts in their order."""
    bus = make_bus(settings)
    await bus.start()
    found: dict[str, list[tuple[Any, ...]]] = {}
    try:
        async for records in bus.history(TOPICS):
            for record in records:
                found.setdefault(f"{record.topic} {record.key}", []).append((record.event_id, record.type))
    finally:
        await bus.close()
    return found


def by_key(facts: Mapping[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """What the outboxes hold, likewise."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name, told in facts.items():
        for event_id, kind, key in told:
            found.setdefault(f"kechuang.{name} {key}", []).append((event_id, kind))
    return found


async def people(town: Town) -> tuple[list[Actor], Actor]:
    codes = [uscc(number) for number in range(41, 45)]
    await town.recognise(codes, DAY)
    enterprises = [await town.enterprise(code) for code in codes]
    bank = await town.bank(7)
    await town.settle()
    return enterprises, bank


async def test_after_a_restore_to_a_moment_nothing_of_before_is_lost_and_nothing_doubled(
    data_folder: Path, log: LogInPostgres | LogInKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    with archived(data_folder) as it:
        it.server.ensure_databases(city.SERVICES)
        settings = settings_of(it, log)
        await city.migrate_all(settings)

        # Work, a base backup, more work; compensation lags behind when the moment comes.
        async with opened(settings) as town:
            enterprises, bank = await people(town)
            loans = [await town.loan(enterprises[0], bank, "1000000.00")]
            await town.settle()
            it.base_backup()
            loans.append(await town.loan(enterprises[1], bank, "2000000.00"))
            await town.settle()
            held = Held(town, "compensation")
            loans.append(await town.loan(enterprises[2], bank, "3000000.00"))
            await eventually(lambda: published(settings, "lending"), "the filing sent out")
            moment = await it.ask(
                "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
            )
            at_the_moment = {name: await business(settings, name) for name in ("roster", "lending")}
            facts = {name: await outbox(settings, name) for name in city.SERVICES}
            held.let_go()
            await town.settle()
            when_all_was_heard = await business(settings, "compensation")
            lost = await town.loan(enterprises[3], bank, "4000000.00")
            await town.settle()
        after = {name: await outbox(settings, name) for name in city.SERVICES}
        taken_back = sum(len(after[name]) - len(facts[name]) for name in city.SERVICES)
        assert taken_back > 0
        await it.archive_all()

        # The disaster, and the way back.
        it.lose_everything()
        done = it.run("restore.sh", moment)
        assert done.returncode == 0, done.stderr
        it.server.start()
        await eventually(it.is_itself_again, "the end of the recovery", 60)
        assert {name: await outbox(settings, name) for name in city.SERVICES} == facts
        assert {name: await business(settings, name) for name in at_the_moment} == at_the_moment
        assert await business(settings, "compensation") != when_all_was_heard, "it had yet to hear"

        # The old log is ahead of the databases: refused, and what is gone is named.
        capsys.readouterr()
        assert await republish(settings) == 1
        told = capsys.readouterr().out
        assert f"{taken_back} facts" in told
        assert f"LoanFiled {lost['id']}" in told
        assert await published(settings, "lending"), "a refusal changes nothing"

        # A fresh log: every fact once more, each taken by whoever had not heard it.
        await log.begin_anew()
        settings = settings_of(it, log)
        assert await republish(settings) == 0
        async with opened(settings) as town:
            await town.settle()
            assert {name: await outbox(settings, name) for name in city.SERVICES} == facts
            assert {name: await business(settings, name) for name in at_the_moment} == at_the_moment
            assert await business(settings, "compensation") == when_all_was_heard
            assert await told_in(settings) == by_key(facts)
            office = await town.office()
            for loan in loans:
                shown = await office.get(f"/v1/loans/{loan['id']}")
                assert shown["amount"] == loan["amount"]
            await office.get(f"/v1/loans/{lost['id']}", expect=404)
            # And the bank sends again what was taken back.
            enterprise = await town.somebody("enterprise", party=enterprises[3].party)
            bank = await town.somebody("institution", party=bank.party, machine=True)
            await town.loan(enterprise, bank, "4000000.00")
            await town.settle()
        for name in city.SERVICES:
            assert await operate.replay(settings, name) == 0
        assert await operate.check(settings) == 0
