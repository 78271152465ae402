"""The rehearsal of the disaster: real work, a base backup, more work, the machine lost, a restore to a
moment, the facts sent once more into a fresh log. Nothing of before the moment is lost, nothing is doubled,
nothing of after it stays.

The log lies on another server than the databases, as Kafka does: it is not restored with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services import city, operate
from services.demo import uscc
from services.republishing import republish
from shared.clock import SandboxClock
from shared.database import plain_url
from shared.postgres_bus import PostgresBus
from shared.settings import Settings
from tests.deploy.archived import Archived, archived
from tests.ground import DAY, Databases, eventually
from tests.journeys.town import Actor, Town

TECHNICAL = {"outbox", "inbox", "audit", "idempotency", "business_day"}
"""Not business: tables that the way of a fact itself moves."""


def settings_of(it: Archived, log: str) -> Settings:
    urls = {f"{name}_database_url": it.server.url(name) for name in city.SERVICES}
    told: dict[str, Any] = {"sandbox": True, "secret": "only for tests", "database_pool": 6}
    return Settings.model_validate({**urls, **told, "bus_database_url": log})


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Town]:
    """The town on databases that are there, and this log."""
    async with AsyncExitStack() as stack:
        bus = PostgresBus(settings.bus_database_url)
        await bus.start()
        stack.push_async_callback(bus.close)
        clock = SandboxClock(DAY)
        it = Town(await stack.enter_async_context(city.city(settings, clock, bus)), clock, bus)
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


async def people(town: Town) -> tuple[list[Actor], Actor]:
    codes = [uscc(number) for number in range(41, 45)]
    await town.recognise(codes, DAY)
    enterprises = [await town.enterprise(code) for code in codes]
    bank = await town.bank(7)
    await town.settle()
    return enterprises, bank


async def test_after_a_restore_to_a_moment_nothing_of_before_is_lost_and_nothing_doubled(
    data_folder: Path, databases: Databases, capsys: pytest.CaptureFixture[str]
) -> None:
    old_log, new_log = [await databases.fresh(None, "bus") for _ in range(2)]
    with archived(data_folder) as it:
        it.server.ensure_databases(city.SERVICES)
        settings = settings_of(it, old_log)
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
        settings = settings_of(it, new_log)
        assert await republish(settings) == 0
        async with opened(settings) as town:
            await town.settle()
            assert {name: await outbox(settings, name) for name in city.SERVICES} == facts
            assert {name: await business(settings, name) for name in at_the_moment} == at_the_moment
            assert await business(settings, "compensation") == when_all_was_heard
            log = await rows(new_log, "SELECT event_id, type, key FROM log ORDER BY topic, position")
            assert log == [fact for name in sorted(city.SERVICES) for fact in facts[name]]
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
    await databases.drop(old_log, new_log)
