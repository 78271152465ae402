"""Whether a service is able to work, asked from outside: its database and bus answer, its relay and
consumer move.

An answer comes within LIMIT_SECONDS, whatever hangs. Each probe asks one question at a time: a question
that hangs is not asked a second time beside it, and is given up, connection and all, so that the next one
finds the way open again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

import asyncpg

from shared.database import Database, plain_url

LIMIT_SECONDS = 2.0
STUCK_SECONDS = 30.0
"""A relay or consumer that has not moved for so long is stuck; both move every second when all is well."""
COUNTED = 10_000
"""Rows that wait are counted up to here: the question stays cheap however many there are."""
WAITING = f"""
SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE published_at IS NULL LIMIT {COUNTED}) o),
       (SELECT extract(epoch FROM clock_timestamp() - recorded_at)::float8 FROM outbox
        WHERE published_at IS NULL ORDER BY seq LIMIT 1),
       (SELECT count(*) FROM (SELECT FROM audit WHERE seal_no IS NULL LIMIT {COUNTED}) a),
       (SELECT extract(epoch FROM clock_timestamp() - recorded_at)::float8 FROM audit
        WHERE seal_no IS NULL ORDER BY id LIMIT 1)
"""  # noqa: S608  (our own SQL)
Found = TypeVar("Found")


class NoAnswer(Exception):
    """Nothing came within the limit."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a service's database: facts to be published and audit rows to be sealed, with the age in
    seconds of the first in line (0: none waits)."""

    unpublished: int
    oldest_unpublished: float
    unsealed: int
    oldest_unsealed: float


class Probe(Generic[Found]):
    """One question to the outside, with a limit."""

    def __init__(self, ask: Callable[[], Awaitable[Found]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[Found] | None = None

    async def answer(self) -> Found:
        """The answer. Raises NoAnswer, or whatever the asking raises."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._limited())
            self._asking.add_done_callback(_seen)
        asking = self._asking
        # Not wait_for: it would wait until the giving up has succeeded, too.
        await asyncio.wait({asking}, timeout=LIMIT_SECONDS)
        if not asking.done():
            raise NoAnswer
        try:
            return asking.result()
        except (TimeoutError, asyncio.CancelledError) as error:
            raise NoAnswer from error

    async def _limited(self) -> Found:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await self._ask()

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()


def _seen(asking: asyncio.Task[Any]) -> None:
    """An answer nobody waits for any more is nobody's unhandled error."""
    if not asking.cancelled():
        asking.exception()


class Lookout:
    """Looks into a service's database on a connection of its own, so that it sees also when all of the
    pool's are in use; made anew when it broke."""

    def __init__(self, database: Database) -> None:
        self._url = plain_url(database.url)
        self._connection: Any = None

    async def waiting(self) -> Waiting:
        """What waits there. Raises when the database does not answer."""
        try:
            if self._connection is None or self._connection.is_closed():
                limits = {"statement_timeout": f"{LIMIT_SECONDS:.0f}s", "lock_timeout": "1s"}
                self._connection = await asyncpg.connect(self._url, server_settings=limits)
            row = await self._connection.fetchrow(WAITING)
        except BaseException:
            self.close()
            raise
        return Waiting(row[0], max(row[1] or 0.0, 0.0), row[2], max(row[3] or 0.0, 0.0))

    def close(self) -> None:
        """At once, without a word to the server: it may not hear."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


class Moving(Protocol):
    """A loop that tells when it last moved."""

    @property
    def progress(self) -> datetime: ...


class Pinged(Protocol):
    async def ping(self) -> None: ...


class Readiness:
    """A service's database, its bus, and the loops that must move; asked by `/readyz` and by every scrape."""

    def __init__(self, database: Database, bus: Pinged, moving: Mapping[str, Moving]) -> None:
        self._lookout = Lookout(database)
        self.database = Probe(self._lookout.waiting)
        self.bus = Probe(bus.ping)
        self.moving = dict(moving)
        self.parts = ("database", "bus", *self.moving)

    async def look(self) -> tuple[dict[str, str], Waiting | None]:
        """What is wrong (part → in a word; empty: able), and what waits, if the database tells."""
        waiting, ping = await asyncio.gather(
            self.database.answer(), self.bus.answer(), return_exceptions=True
        )
        faults = {
            part: type(answer).__name__
            for part, answer in (("database", waiting), ("bus", ping))
            if isinstance(answer, BaseException)
        }
        for part, moving in self.moving.items():
            age = (datetime.now(UTC) - moving.progress).total_seconds()
            if age > STUCK_SECONDS:
                faults[part] = f"no progress for {age:.0f} s"
        return faults, waiting if isinstance(waiting, Waiting) else None

    def close(self) -> None:
        for probe in (self.database, self.bus):
            probe.close()
        self._lookout.close()
