"""The operator's tools: replay a service's memory, verify what is sealed, look after dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
from sqlalchemy import text

from services.city import SERVICES
from shared import audit
from shared.bus import Bus
from shared.database import Database, plain_url
from shared.events import TOPICS
from shared.inbox import Consumer
from shared.migrate import migrate
from shared.service import Service
from shared.settings import Settings


@dataclass(frozen=True)
class Letters:
    """What to do with the dead letters of one topic, or of all."""

    topic: str | None
    resend: bool = False
    discard: bool = False


async def started_bus(settings: Settings) -> Bus:
    from services.run import make_bus

    bus = make_bus(settings)
    await bus.start()
    return bus


async def dead_letters(settings: Settings, choice: Letters) -> int:
    """List the dead letters, and send them again or discard them when asked; the exit status."""
    bus = await started_bus(settings)
    try:
        found = 0
        for topic in [choice.topic] if choice.topic else TOPICS:
            letters = await bus.dead_letters(topic)
            found += len(letters)
            for letter in letters:
                record = letter.record
                print(
                    f"{topic} {record.partition}:{record.offset} {record.type} {record.event_id} "
                    f"for {letter.group}, {letter.attempts} attempts: {letter.error}"
                )
            if choice.resend and letters:
                await bus.publish([letter.record for letter in letters])
            if (choice.resend or choice.discard) and letters:
                await bus.clear_dead_letters(topic, letters)
        done = "sent again" if choice.resend else "discarded" if choice.discard else "waiting"
        print(f"{found} dead letters {done}")
    finally:
        await bus.close()
    return 0


async def check(settings: Settings) -> int:
    """Verify every service's sealed audit log; 1 when anything is wrong."""
    wrong = 0
    for name in SERVICES:
        database = Database(settings.database_url(name), pool=2)
        try:
            while await audit.seal_some(database):
                pass
            faults = await audit.verify(database, datetime.now(UTC) + timedelta(seconds=1))
            async with database.reading() as session:
                last = (await session.execute(audit.LAST)).first()
        finally:
            await database.close()
        wrong += len(faults)
        for fault in faults:
            print(f"{name}: {fault}")
        print(
            f"{name}: {last.seal_no if last else 0} rows sealed, last seal {last.seal.hex() if last else '-'}"
        )
    print("all seals hold" if not wrong else f"{wrong} faults")
    return 1 if wrong else 0


async def replay(settings: Settings, name: str) -> int:
    """Rebuild what a service remembers of the others from the whole log, in a scratch database, and
    compare with what it remembers now; 1 when they differ."""
    service = SERVICES[name]
    live = settings.database_url(name)
    scratch_name = f"{name}_replay"
    scratch = live.replace(f"/{name}?", f"/{scratch_name}?", 1)
    if scratch == live:
        scratch = live.rsplit("/", 1)[0] + "/" + scratch_name
    await _make_anew(live, scratch_name)
    try:
        await migrate(scratch, name, service.migrations)
        taken = await _take_history(settings, service, scratch)
        differences = await _compare(live, scratch, service.memory)
    finally:
        await _drop(live, scratch_name)
    for table, difference in differences.items():
        print(f"{name}.{table}: {difference}")
    print(f"{name}: {taken} facts replayed, {'memory is equal' if not differences else 'memory DIFFERS'}")
    return 1 if differences else 0


async def _take_history(settings: Settings, service: Service, scratch: str) -> int:
    bus = await started_bus(settings)
    database = Database(scratch, pool=2)
    taken = 0
    try:
        consumer = Consumer(service.name, database, bus, service.hears, service.remembers)
        async for records in bus.history(service.hears):
            await consumer.take(records)
            taken += len(records)
    finally:
        await database.close()
        await bus.close()
    return taken


async def _make_anew(live: str, name: str) -> None:
    await _drop(live, name)
    connection = await asyncpg.connect(plain_url(live))
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


async def _drop(live: str, name: str) -> None:
    connection = await asyncpg.connect(plain_url(live))
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


async def _compare(live: str, rebuilt: str, tables: Sequence[str]) -> dict[str, str]:
    """Tables whose rows differ, with how."""
    now, anew = await _contents(live, tables), await _contents(rebuilt, tables)
    return {
        table: f"{len(now[table] - anew[table])} rows only now, {len(anew[table] - now[table])} only rebuilt"
        for table in tables
        if now[table] != anew[table]
    }


async def _contents(url: str, tables: Sequence[str]) -> dict[str, set[str]]:
    """Every row of these tables, as text."""
    database = Database(url, pool=1)
    try:
        async with database.reading() as session:
            return {
                name: set((await session.execute(text(f'SELECT t::text FROM "{name}" t'))).scalars())  # noqa: S608
                for name in tables
            }
    finally:
        await database.close()
