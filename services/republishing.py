"""After a restore: every fact of the restored databases goes out once more, into topics begun anew.

The databases are restored to one moment; the log is not. It may hold facts announced after that moment,
whose loans no database knows any more, and the groups' places in it stand behind facts that the restored
readers have yet to hear. So the log is begun anew and filled from the outboxes, which keep every fact in
its order. A reader takes what it has not heard and passes over what it has: the inbox knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import groupby

from sqlalchemy import text

from services.city import SERVICES
from services.operate import started_bus
from shared.bus import Bus, Received
from shared.database import Database
from shared.events import TOPICS
from shared.settings import Settings

UNKNOWN = text(
    "SELECT id FROM unnest(CAST(:ids AS uuid[])) AS id "
    "WHERE NOT EXISTS (SELECT FROM outbox WHERE outbox.event_id = id)"
)
AGAIN = text("UPDATE outbox SET published_at = NULL WHERE published_at IS NOT NULL")


async def republish(settings: Settings) -> int:
    """Mark every fact as unpublished; the services' relays send them, in order, as they run.

    Refuses (1) while the log holds facts that no outbox knows, and lists them: they are what the restore
    took back, and readers would believe them. Safe to run again.
    """
    async with AsyncExitStack() as stack:
        bus = await started_bus(settings)
        stack.push_async_callback(bus.close)
        databases: dict[str, Database] = {}
        for name in SERVICES:
            databases[name] = Database(settings.database_url(name), pool=2)
            stack.push_async_callback(databases[name].close)
        held, unknown = await compare(bus, databases)
        for record in unknown:
            print(f"{record.topic} {record.type} {record.key} {record.time.isoformat()} {record.event_id}")
        if unknown:
            print(
                f"{len(unknown)} facts of the log are in no outbox; nothing changed: begin with fresh topics"
            )
            return 1
        print(f"the log holds {held} facts, all known")
        for name, database in databases.items():
            async with database.transaction() as session:
                marked = await session.execute(AGAIN)
            print(f"{name}: {getattr(marked, 'rowcount', 0)} facts to be sent anew")
    return 0


async def compare(bus: Bus, databases: Mapping[str, Database]) -> tuple[int, list[Received]]:
    """How many facts the log holds, and those of them that the outbox of their service does not know."""
    held, unknown = 0, list[Received]()
    async for records in bus.history(TOPICS):
        held += len(records)
        for topic, of_topic in groupby(records, key=lambda record: record.topic):
            unknown += await _unknown(databases[topic.removeprefix("kechuang.")], list(of_topic))
    return held, unknown


async def _unknown(database: Database, records: Sequence[Received]) -> list[Received]:
    async with database.reading() as session:
        ids = {"ids": [record.event_id for record in records]}
        missing = set((await session.execute(UNKNOWN, ids)).scalars())
    return [record for record in records if record.event_id in missing]
