"""Facts leave with the transaction that made them true, and reach the bus in order.

`announce` only remembers the event in the caller's session; `Database.transaction` writes the rows
when it closes. The relay of each service publishes unpublished rows by id and marks them; it holds an
advisory lock while it works, so one relay at a time publishes a service's facts and the facts of one
key stay in order. While one batch is on its way the one before it is marked and the next one taken; it is
sent only when the bus has the one before. A crash before the mark sends rows twice, in the same order; the
inbox takes each once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from shared import crashpoints, tracing
from shared.bus import Bus, Outgoing, members_of
from shared.events import Event

if TYPE_CHECKING:
    from shared.database import Database

log = logging.getLogger("kechuang.outbox")
BATCH = 500


def announce(session: AsyncSession, event: Event) -> None:
    """Publish `event` if and when this session's transaction commits. Never flushes or commits."""
    session.info.setdefault("announced", []).append((event, tracing.traceparent()))


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
    return [row_of(event, trace) for event, trace in session.info.pop("announced", ())]


def announced_in_sql(session: AsyncSession) -> None:
    """Say that rows were put into the outbox by set-based SQL, so that the relay is woken."""
    session.info["announced_in_sql"] = True


TAKE = (
    "SELECT seq, event_id, topic, key, type, time, trace, data FROM outbox "
    "WHERE published_at IS NULL AND seq <> ALL($2::bigint[]) ORDER BY seq LIMIT $1"
)
"""The oldest rows that are neither published nor among those given, which are on their way."""
MARK = "UPDATE outbox SET published_at = now() WHERE seq = ANY($1::bigint[])"
MARK_AND_TAKE = f"WITH marked AS ({MARK.replace('$1', '$3')}) {TAKE}"
LEASE = "SELECT pg_try_advisory_lock(hashtext('kechuang.relay'))"
FIRST_PAUSE_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
"""For the database's answer: a server that is gone without a word must not hold the relay for ever."""
UNHURRIED = {"synchronous_commit": "off"}
"""A mark need not wait for the disk: one lost in a power cut sends its row again, as any crash does."""
MOST_LINKS = 128


class Relay:
    """Publishes one service's outbox; woken at each commit, with a slow poll as its net."""

    def __init__(self, database: Database, bus: Bus, *, poll_seconds: float = 0.5) -> None:
        self.database = database
        self.bus = bus
        self.poll_seconds = poll_seconds
        self.woken = asyncio.Event()
        self.progress = datetime.now(UTC)
        self.published = 0
        self._pause = FIRST_PAUSE_SECONDS
        database.on_commit.append(self.woken.set)

    async def run(self) -> None:
        """For ever: hold the lease, publish, mark. Any failure: let go, wait a little, begin anew."""
        while True:
            try:
                await self._hold_and_publish()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("relay paused %.1f s: %s", self._pause, error)
            except Exception:
                log.exception("relay paused %.1f s", self._pause)
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, 5.0)

    async def _hold_and_publish(self) -> None:
        from shared.database import plain_url

        connection = await asyncpg.connect(
            plain_url(self.database.url),
            timeout=PATIENCE_SECONDS,
            command_timeout=PATIENCE_SECONDS,
            server_settings=UNHURRIED,
        )
        try:
            while not await connection.fetchval(LEASE):
                self.progress = datetime.now(UTC)
                await asyncio.sleep(self.poll_seconds)
            while True:
                await self._publish_waiting(connection)
                self.progress = datetime.now(UTC)
                self._pause = FIRST_PAUSE_SECONDS
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.poll_seconds):
                        await self.woken.wait()
                self.woken.clear()
        finally:
            await asyncio.shield(_close(connection))

    async def _publish_waiting(self, connection: Any) -> None:
        """Publish and mark what waits, batch after batch, until a batch is not full."""
        rows = await connection.fetch(TAKE, BATCH, [])
        acknowledged: list[int] = []
        while rows:
            sending = asyncio.create_task(self._send(rows))
            on_their_way = [row["seq"] for row in rows]
            try:
                rows = await self._next_batch(connection, acknowledged, on_their_way)
            except asyncio.CancelledError:
                sending.cancel()
                raise
            finally:
                await _ended(sending)
            sending.result()
            self.published += len(acknowledged)
            self.progress = datetime.now(UTC)
            acknowledged = on_their_way
        if acknowledged:
            await connection.execute(MARK, acknowledged)
            self.published += len(acknowledged)

    async def _next_batch(
        self, connection: Any, acknowledged: list[int], on_their_way: list[int]
    ) -> Sequence[Any]:
        """Mark what the bus has, and take what comes after what is on its way."""
        if len(on_their_way) == BATCH:
            seqs = acknowledged + on_their_way
            return list(await connection.fetch(MARK_AND_TAKE, BATCH, seqs, acknowledged))
        if acknowledged:
            await connection.execute(MARK, acknowledged)
        return []

    async def _send(self, rows: Sequence[Any]) -> None:
        records = [Outgoing(**members_of(row)) for row in rows]
        with _publishing(records):
            await self.bus.publish(records)
        crashpoints.reach("after_publish")


def _publishing(records: Sequence[Outgoing]) -> tracing.Part:
    """The sending of a batch: in the trace of the one command whose facts they are, or, for several, in a
    trace of its own with links to theirs. The records themselves keep the trace that made them."""
    traces = list(dict.fromkeys(record.trace for record in records if record.trace))
    topics = sorted({record.topic for record in records})
    parent = traces[0] if len(traces) == 1 else tracing.ROOT
    attributes: dict[str, tracing.Attribute] = {
        "messaging.operation.type": "send",
        "messaging.destination.name": ",".join(topics),
        "messaging.batch.message_count": len(records),
    }
    name = f"send {topics[0]}" if len(topics) == 1 else "send"
    return tracing.Part(name, "PRODUCER", parent, traces[:MOST_LINKS], attributes)


async def _ended(task: asyncio.Task[None]) -> None:
    """Until the task has ended; whoever is cancelled meanwhile takes it along."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        raise


async def _close(connection: Any) -> None:
    with suppress(Exception):
        await connection.close(timeout=2)
