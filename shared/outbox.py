"""Facts leave with the transaction that made them true, and reach the bus in order.

`announce` only remembers the event in the caller's session; `Database.transaction` writes the rows
when it closes. The relay of each service publishes unpublished rows by id and marks them; it holds an
advisory lock while it works, so one relay at a time publishes a service's facts and the facts of one
key stay in order. A crash between publish and mark sends a row twice; the inbox takes it once.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from shared import crashpoints
from shared.bus import Bus, Outgoing
from shared.events import Event

if TYPE_CHECKING:
    from shared.database import Database

log = logging.getLogger("kechuang.outbox")
BATCH = 500


def announce(session: AsyncSession, event: Event) -> None:
    """Publish `event` if and when this session's transaction commits. Never flushes or commits."""
    session.info.setdefault("announced", []).append(event)


def row_of(event: Event, trace: str | None) -> dict[str, Any]:
    """The outbox row of one event."""
    return {
        "event_id": event.event_id,
        "topic": event.topic,
        "key": event.key,
        "type": event.type_name(),
        "time": event.occurred_at,
        "trace": trace,
        "data": event.payload(),
    }


def take_announced(session: AsyncSession) -> list[dict[str, Any]]:
    """The outbox rows of what was announced in this session, for its closing statement."""
    trace = session.info.get("trace")
    return [row_of(event, trace) for event in session.info.pop("announced", ())]


def announced_in_sql(session: AsyncSession) -> None:
    """Say that rows were put into the outbox by set-based SQL, so that the relay is woken."""
    session.info["announced_in_sql"] = True


TAKE = (
    "SELECT seq, event_id, topic, key, type, time, trace, data FROM outbox "
    "WHERE published_at IS NULL ORDER BY seq LIMIT $1"
)
MARK = "UPDATE outbox SET published_at = now() WHERE seq = ANY($1::bigint[])"
OLDEST = "SELECT min(recorded_at) FROM outbox WHERE published_at IS NULL"
LEASE = "SELECT pg_try_advisory_lock(hashtext('kechuang.relay'))"


class Relay:
    """Publishes one service's outbox; woken at each commit, with a slow poll as its net."""

    def __init__(self, database: Database, bus: Bus, *, poll_seconds: float = 0.5) -> None:
        self.database = database
        self.bus = bus
        self.poll_seconds = poll_seconds
        self.woken = asyncio.Event()
        self.progress = datetime.now(UTC)
        database.on_commit.append(self.woken.set)

    async def run(self) -> None:
        """For ever: hold the lease, publish, mark. Any failure: let go, wait a little, begin anew."""
        pause = 0.1
        while True:
            try:
                await self._hold_and_publish()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("relay paused %.1f s: %s", pause, error)
            except Exception:
                log.exception("relay paused %.1f s", pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _hold_and_publish(self) -> None:
        from shared.database import plain_url

        connection = await asyncpg.connect(plain_url(self.database.url))
        try:
            while not await connection.fetchval(LEASE):
                self.progress = datetime.now(UTC)
                await asyncio.sleep(self.poll_seconds)
            while True:
                sent = await self._publish_some(connection)
                self.progress = datetime.now(UTC)
                if sent < BATCH:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self.poll_seconds):
                            await self.woken.wait()
                    self.woken.clear()
        finally:
            await asyncio.shield(_close(connection))

    async def _publish_some(self, connection: Any) -> int:
        rows = await connection.fetch(TAKE, BATCH)
        if not rows:
            return 0
        await self.bus.publish(
            [
                Outgoing(
                    topic=row["topic"],
                    key=row["key"],
                    event_id=row["event_id"],
                    type=row["type"],
                    time=row["time"],
                    trace=row["trace"],
                    data=row["data"].encode(),
                )
                for row in rows
            ]
        )
        crashpoints.reach("after_publish")
        await connection.execute(MARK, [row["seq"] for row in rows])
        return len(rows)


async def _close(connection: Any) -> None:
    with suppress(Exception):
        await connection.close(timeout=2)
