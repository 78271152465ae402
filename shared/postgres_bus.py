"""The bus as a durable log in PostgreSQL, for the one-machine form: one database of its own.

One writer per topic at a time (advisory lock), so positions grow in commit order and "everything after
position n" never jumps over a record that commits late. One member of a group at a time reads a topic
(advisory lock on the member's own connection, gone when the member dies). Subscribers in the same
process are woken at once, others find new records by a slow poll.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import asyncpg

from shared.bus import DeadLetter, Outgoing, Place, Places, Received, Subscription, members_of
from shared.database import plain_url

SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key text NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    trace text,
    data text NOT NULL
);
CREATE INDEX IF NOT EXISTS log_topic ON log (topic, position);
CREATE TABLE IF NOT EXISTS place (
    consumer text NOT NULL,
    topic text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (consumer, topic)
);
CREATE TABLE IF NOT EXISTS dead_letter (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer text NOT NULL,
    topic text NOT NULL,
    position bigint NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL,
    buried_at timestamptz NOT NULL DEFAULT now(),
    cleared_at timestamptz
);
"""
LOCK = "SELECT pg_advisory_xact_lock(hashtext('kechuang.topic.' || $1))"
APPEND = (
    "INSERT INTO log (topic, key, event_id, type, time, trace, data) "
    "SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[],"
    " $6::text[], $7::text[])"
)
COLUMNS = "topic, key, event_id, type, time, trace, data, position"
READ = f"SELECT {COLUMNS} FROM log WHERE topic = $1 AND position > $2 ORDER BY position LIMIT $3"  # noqa: S608
MEMBER = "SELECT pg_try_advisory_lock(hashtext('kechuang.member.' || $1), hashtext($2))"
PLACE = "SELECT position FROM place WHERE consumer = $1 AND topic = $2"
PLACES = "SELECT topic, position FROM place WHERE consumer = $1 AND topic = ANY($2::text[])"
MOVE = (
    "INSERT INTO place (consumer, topic, position) VALUES ($1, $2, $3) "
    "ON CONFLICT (consumer, topic) DO UPDATE SET position = $3 WHERE place.position < $3"
)
GROUP_PLACE = (
    "SELECT coalesce(sum(at), 0) AS committed, coalesce(sum(waiting), 0) AS waiting FROM "
    "unnest($2::text[]) AS t(topic), LATERAL (SELECT coalesce((SELECT position FROM place p WHERE "
    "p.consumer = $1 AND p.topic = t.topic), 0) AS at) p, LATERAL (SELECT count(*) AS waiting FROM log "
    "WHERE log.topic = t.topic AND log.position > p.at) w"
)
BURY = "INSERT INTO dead_letter (consumer, topic, position, error, attempts) VALUES ($1, $2, $3, $4, $5)"
LETTERS = (
    "SELECT d.id, d.consumer, d.error, d.attempts, l.* FROM dead_letter d "  # noqa: S608
    f"JOIN LATERAL (SELECT {COLUMNS} FROM log WHERE log.position = d.position) l ON true "
    "WHERE d.topic = $1 AND d.cleared_at IS NULL ORDER BY d.id"
)
CLEAR = "UPDATE dead_letter SET cleared_at = now() WHERE topic = $1 AND position <= $2 AND cleared_at IS NULL"


def received(row: Any) -> Received:
    return Received(**members_of(row), partition=0, offset=row["position"])


class PostgresBus:
    """Keeps the promise of `bus.py` in one PostgreSQL database."""

    def __init__(self, url: str, *, poll_seconds: float = 0.5) -> None:
        self.url = url
        self.poll_seconds = poll_seconds
        self.published = asyncio.Condition()
        self.batches = 0
        self._pool: Any = None

    async def start(self) -> None:
        """Connect and make the tables if they are not there. Call once, before anything else."""
        self._pool = await asyncpg.create_pool(plain_url(self.url), min_size=1, max_size=8)
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('kechuang.schema'))")
            await connection.execute(SCHEMA)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            for topic in sorted({record.topic for record in records}):
                await connection.execute(LOCK, topic)
            columns = zip(
                *((r.topic, r.key, r.event_id, r.type, r.time, r.trace, r.data.decode()) for r in records),
                strict=True,
            )
            await connection.execute(APPEND, *map(list, columns))
        async with self.published:
            self.batches += 1
            self.published.notify_all()

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        return PostgresSubscription(self, group, topics)

    async def history(self, topics: Sequence[str]) -> AsyncIterator[list[Received]]:
        for topic in topics:
            position = 0
            while rows := await self._pool.fetch(READ, topic, position, 1000):
                position = rows[-1]["position"]
                yield [received(row) for row in rows]

    async def bury(self, letter: DeadLetter) -> None:
        record = letter.record
        await self._pool.execute(
            BURY, letter.group, record.topic, record.offset, letter.error, letter.attempts
        )

    async def dead_letters(self, topic: str) -> Sequence[DeadLetter]:
        return [
            DeadLetter(received(row), row["consumer"], row["error"], row["attempts"])
            for row in await self._pool.fetch(LETTERS, topic)
        ]

    async def clear_dead_letters(self, topic: str, letters: Sequence[DeadLetter]) -> None:
        if letters:
            await self._pool.execute(CLEAR, topic, max(x.record.offset for x in letters))

    async def places(self, group: str, topics: Sequence[str]) -> Places:
        rows = await self._pool.fetch(PLACES, group, list(topics))
        return {(row["topic"], 0): row["position"] + 1 for row in rows}

    async def set_places(self, group: str, places: Places) -> None:
        rows = [(group, topic, offset - 1) for (topic, _), offset in places.items()]
        await self._pool.executemany(MOVE, rows)

    async def ping(self) -> None:
        await self._pool.fetchval("SELECT 1")

    async def close(self) -> None:
        if self._pool is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._pool.close(), 5)


class PostgresSubscription:
    """One member of a group: topics it holds the lock of are read, the others belong to a sibling."""

    def __init__(self, bus: PostgresBus, group: str, topics: Sequence[str]) -> None:
        self.bus = bus
        self.group = group
        self.topics = tuple(topics)
        self._at: dict[str, int] = {}
        self._connection: Any = None

    async def poll(self, limit: int, wait_seconds: float) -> list[Received]:
        try:
            async with asyncio.timeout(wait_seconds):
                while True:
                    seen = self.bus.batches
                    if records := await self._read(limit):
                        return records
                    await self._wait(seen)
        except TimeoutError:
            return []

    async def _wait(self, seen: int) -> None:
        """Until this process publishes a batch after the `seen`-th, or the slow poll is due."""
        async with self.bus.published:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.bus.poll_seconds):
                    await self.bus.published.wait_for(lambda: self.bus.batches != seen)

    async def _read(self, limit: int) -> list[Received]:
        await self._join()
        for topic in self._at:
            rows = await self._connection.fetch(READ, topic, self._at[topic], limit)
            if rows:
                self._at[topic] = rows[-1]["position"]
                return [received(row) for row in rows]
        return []

    async def _join(self) -> None:
        """Connect, and take the lock of every topic that no sibling holds."""
        if self._connection is None or self._connection.is_closed():
            self._at.clear()
            self._connection = await asyncpg.connect(plain_url(self.bus.url))
        for topic in self.topics:
            if topic not in self._at and await self._connection.fetchval(MEMBER, self.group, topic):
                self._at[topic] = await self._connection.fetchval(PLACE, self.group, topic) or 0

    async def commit(self, records: Sequence[Received]) -> None:
        for topic in {record.topic for record in records}:
            last = max(record.offset for record in records if record.topic == topic)
            await self._connection.execute(MOVE, self.group, topic, last)

    async def rewind(self) -> None:
        for topic in self._at:
            self._at[topic] = await self._connection.fetchval(PLACE, self.group, topic) or 0

    async def place(self) -> Place:
        row = await self.bus._pool.fetchrow(GROUP_PLACE, self.group, list(self.topics))
        return Place(int(row["committed"]), int(row["committed"] + row["waiting"]))

    async def close(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                await self._connection.close(timeout=2)
