"""The operator's tools: replay a service's memory, verify what is sealed, look after dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
from sqlalchemy import text

from services.city import SERVICES
from services.compensation import books
from shared import audit
from shared.bus import Bus, Received
from shared.database import Database, plain_url
from shared.events import TOPICS
from shared.inbox import Consumer
from shared.migrate import migrate
from shared.service import Service
from shared.settings import Settings

SCRATCH = "replayed"
"""The schema a memory is rebuilt in, beside the service's own."""


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
    """Verify every service's sealed audit log, and the fund's ledger against the claims; 1 when anything is
    wrong."""
    wrong = await _check_fund(settings)
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
    print("all seals hold and the fund's books agree" if not wrong else f"{wrong} faults")
    return 1 if wrong else 0


async def _check_fund(settings: Settings) -> int:
    """Compare the fund's ledger with the claims; the number of faults."""
    database = Database(settings.database_url("compensation"), pool=1)
    try:
        async with database.reading() as session:
            faults = await books.faults(session)
    finally:
        await database.close()
    for fault in faults:
        print(f"fund: {fault}")
    return len(faults)


async def replay(settings: Settings, name: str) -> int:
    """Rebuild what a service remembers of the others from the whole log, in a schema beside its own (its
    role may make no database), and compare with what it remembers now; 1 when they differ."""
    service = SERVICES[name]
    url = settings.database_url(name)
    await _execute(url, f"DROP SCHEMA IF EXISTS {SCRATCH} CASCADE", f"CREATE SCHEMA {SCRATCH}")
    try:
        await migrate(url, name, service.migrations, schema=SCRATCH)
        taken, refused = await _take_history(settings, service)
        differences = await _compare(url, service.memory)
    finally:
        await _execute(url, f"DROP SCHEMA IF EXISTS {SCRATCH} CASCADE")
    for table, difference in differences.items():
        print(f"{name}.{table}: {difference}")
    for fault in refused:
        print(f"{name}: {fault}")
    print(f"{name}: {taken} facts replayed, {'memory is equal' if not differences else 'memory DIFFERS'}")
    return 1 if differences or refused else 0


async def _take_history(settings: Settings, service: Service) -> tuple[int, list[str]]:
    """Take the whole log into the scratch schema: how many facts, and which could not be taken in."""
    bus = await started_bus(settings)
    database = Database(settings.database_url(service.name), pool=2, schema=SCRATCH)
    taken, refused = 0, list[str]()
    try:
        consumer = Consumer(service.name, database, bus, service.hears, service.remembers)
        async for records in bus.history(service.hears):
            taken += len(records)
            refused += await _take(consumer, records)
    finally:
        await database.close()
        await bus.close()
    return taken, refused


async def _take(consumer: Consumer, records: Sequence[Received]) -> list[str]:
    """Take records in, whole or one by one; what cannot be is told, and buried nowhere."""
    try:
        await consumer.effect(records)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told)
        if len(records) == 1:
            (record,) = records
            where = f"{record.topic} {record.partition}:{record.offset}"
            words = " ".join(repr(error).split())
            return [f"{where} {record.type} {record.event_id} cannot be taken in: {words[:300]}"]
        return [fault for record in records for fault in await _take(consumer, [record])]
    return []


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(plain_url(url))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _compare(url: str, tables: Sequence[str]) -> dict[str, str]:
    """Tables whose rows differ, with how."""
    now, anew = await _contents(url, tables, "public"), await _contents(url, tables, SCRATCH)
    return {
        table: f"{len(now[table] - anew[table])} rows only now, {len(anew[table] - now[table])} only rebuilt"
        for table in tables
        if now[table] != anew[table]
    }


async def _contents(url: str, tables: Sequence[str], schema: str) -> dict[str, set[str]]:
    """Every row of these tables, as text."""
    database = Database(url, pool=1, schema=schema)
    try:
        async with database.reading() as session:
            return {
                name: set((await session.execute(text(f'SELECT t::text FROM {schema}."{name}" t'))).scalars())  # noqa: S608
                for name in tables
            }
    finally:
        await database.close()
