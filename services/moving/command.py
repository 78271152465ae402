"""`python -m services move --from A --to B`: what happens in which order, and what is printed.

Nothing of the source is changed. The four databases are filled in four transactions that stay open
until they were compared and the log was published; only then are they committed, together. So a target
whose move was interrupted shows no data before its log is whole, and the same command continues it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from services.city import SERVICES
from services.moving import log, refusals, secret, tables
from services.moving.side import Side, described_by, opened, stopped
from services.run import make_bus
from shared.bus import Bus
from shared.embedded_postgres import StartError
from shared.events import TOPICS
from shared.migrate import SchemaTooNew, is_newest, migrate
from shared.settings import Settings

GROUPS = {name: tuple(service.hears) for name, service in SERVICES.items() if service.hears}
PUBLISHED = "SELECT topic, count(*) FROM outbox WHERE published_at IS NOT NULL GROUP BY topic"


def run(here: Settings, source: Path | None, target: Path | None) -> int:
    """Move one installation into another; the side that is not named is the one of `here`.

    Raises StartError (Refused among them) and SchemaTooNew, the source unchanged.
    """
    if source is None and target is None:
        raise refusals.no_sides()
    comes_from = described_by(source, target=False) if source else here
    goes_to = described_by(target, target=True) if target else here
    with opened(comes_from, target=False) as old, opened(goes_to, target=True) as new:
        try:
            asyncio.run(move(old, new))
        except (StartError, SchemaTooNew):
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise refusals.interrupted(error) from error
    return 0


async def move(source: Side, target: Side) -> None:
    """Move everything. Raises Refused and SchemaTooNew."""
    agreed = secret.agreed(source, target)
    await _source_is_newest(source)
    async with stopped(source) as old, stopped(target) as new:
        await secret.must_open_keys(agreed, old["gateway"], source, target)
        for name, service in SERVICES.items():
            await migrate(target.settings.database_url(name), name, service.migrations)
        async with _bus(source) as old_bus, _bus(target) as new_bus:
            async with AsyncExitStack() as until_all_is_there:
                pairs = [await _pair(name, old[name], new[name], until_all_is_there) for name in SERVICES]
                await _carry_tables(pairs)
                await secret.must_open_keys(agreed, new["gateway"], source, target)
                passed = await _carry_log(old, old_bus, new_bus)
                secret.keep(agreed, target)
            await log.put_groups(new_bus, passed, GROUPS)
    print(_done(source, target), flush=True)


async def _source_is_newest(source: Side) -> None:
    for name, service in SERVICES.items():
        url = source.settings.database_url(name)
        try:
            newest = await is_newest(url, name, service.migrations)
        except (OSError, asyncpg.PostgresError) as error:
            raise refusals.not_reached(source.name, name, error) from error
        if not newest:
            raise refusals.older(source.name, name)


@asynccontextmanager
async def _bus(side: Side) -> AsyncIterator[Bus]:
    bus = make_bus(side.settings)
    try:
        await bus.start()
    except Exception as error:
        raise refusals.no_bus(side.name, error) from error
    try:
        yield bus
    finally:
        await bus.close()


# ── the databases ────────────────────────────────────────────────────────────────────────────────


@dataclass
class Pair:
    """One service's database on both sides, each in a transaction that keeps writers out."""

    name: str
    source: asyncpg.Connection
    target: asyncpg.Connection
    found: list[tables.Table]
    held: dict[str, tables.Contents]
    there_already: bool
    """An interrupted move committed this database: it is equal already."""


async def _pair(
    name: str, source: asyncpg.Connection, target: asyncpg.Connection, stack: AsyncExitStack
) -> Pair:
    found, same = await tables.tables(source), await tables.tables(target)
    if sorted(found, key=str) != sorted(same, key=str):
        raise refusals.other_shape(name)
    await stack.enter_async_context(source.transaction(isolation="repeatable_read", readonly=True))
    await stack.enter_async_context(target.transaction())
    try:
        await tables.lock(source, found, "SHARE")
        await tables.lock(target, found, "ACCESS EXCLUSIVE")
    except asyncpg.LockNotAvailableError as error:
        raise refusals.busy(name) from error
    held, there = await tables.contents(source, found), await tables.contents(target, found)
    if held != there and not tables.is_new(there):
        raise refusals.not_empty(name, (table for table, told in there.items() if told.rows))
    return Pair(name, source, target, found, held, held == there)


async def _carry_tables(pairs: list[Pair]) -> None:
    for pair in pairs:
        if not pair.there_already:
            await tables.carry(pair.source, pair.target, pair.found)
            arrived = await tables.contents(pair.target, pair.found)
            if differing := [name for name, told in pair.held.items() if told != arrived[name]]:
                raise refusals.differs(pair.name, differing)
        for name, told in sorted(pair.held.items()):
            if told.rows:
                print(f"{pair.name:14}{name:24}{told.rows:>12,}", flush=True)


# ── the log ──────────────────────────────────────────────────────────────────────────────────────


async def _carry_log(old: Mapping[str, asyncpg.Connection], source: Bus, target: Bus) -> log.Passed:
    """Every record and every waiting dead letter, compared afterwards key by key."""
    there = await log.read(target)
    whole = await log.read(source, there)
    if whole.disagrees:
        raise refusals.other_log()
    await _log_is_whole(old, whole)
    letters = await log.letters_of(source)
    passed = await log.publish(source, target, there, GROUPS)
    if (await log.read(target)).chains != whole.chains:
        raise refusals.differs("log", TOPICS)
    await log.bury(target, letters)
    for topic in TOPICS:
        waiting = sum(letter.record.topic == topic for letter in letters)
        told = f", {waiting} dead letters" if waiting else ""
        print(f"{'log':14}{topic:24}{whole.records(topic):>12,}{told}", flush=True)
    return passed


async def _log_is_whole(old: Mapping[str, asyncpg.Connection], whole: log.Log) -> None:
    """The log has every fact that was published; a wrong or a cleared one does not. Raises Refused."""
    for connection in old.values():
        for topic, published in await connection.fetch(PUBLISHED):
            if whole.records(topic) < published:
                raise refusals.holes(topic, published, whole.records(topic))


def _done(source: Side, target: Side) -> str:
    return (
        f"已从 {source.name} 迁移到 {target.name}，逐行核对一致；来源未作更改，请不要再启动它\n"
        f"moved from {source.name} to {target.name}, compared row by row; the source is unchanged: "
        "do not start it again"
    )
