"""Facts of others come in: at least once from the bus, once in effect.

The inbox row `(consumer, event id)` is inserted first, in the same transaction as the effects. A batch
is taken in one transaction and each run of one event type goes to its reactions as a list, so that
they may work in sets. A batch that fails is taken again record by record; a record that still fails
is tried a bounded number of times and then buried in the dead letters with its error. The place in
the log is committed after the effects, and exactly up to the records dealt with.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter as Count
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import crashpoints, tracing
from shared.bus import Bus, DeadLetter, Received, Subscription
from shared.database import Database
from shared.events import EVENTS, Event

log = logging.getLogger("kechuang.inbox")

Reaction = Callable[[AsyncSession, Sequence[Any]], Awaitable[None]]
Reactions = Mapping[type[Event], Sequence[Reaction]]
Found = TypeVar("Found")

BATCH = 500
ATTEMPTS = 5
PLACE_SECONDS = 15.0
"""For the bus to say where the group stands; a client can wait for its brokers for ever."""
FIRST = text(
    "INSERT INTO inbox (consumer, event_id) SELECT :consumer, unnest(CAST(:ids AS uuid[])) "
    "ON CONFLICT DO NOTHING RETURNING event_id"
)


class Stuck(Exception):
    """Records wait, and the subscription brings none."""


class Heard:
    """Lets a command wait for a fact that is still on its way (see `wait_for`)."""

    def __init__(self) -> None:
        self._news = asyncio.Condition()

    async def tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def wait_for(self, fetch: Callable[[], Awaitable[Found | None]]) -> Found | None:
        """What `fetch` finds, tried anew at every batch taken in, for at most 2 s; else None."""
        found = await fetch()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 2.0
        while found is None and (left := deadline - loop.time()) > 0:
            async with self._news:
                # The short limit also finds what a sibling process took in.
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, 0.2)):
                        await self._news.wait()
            found = await fetch()
        return found


def runs(
    records: Sequence[Received], traces: Mapping[str | None, str | None]
) -> Iterator[tuple[type[Event], list[Event]]]:
    """Consecutive records of one known type, as events, each in the trace that `traces` has for its record's;
    unknown types are passed over."""
    for type_name, group in groupby(records, key=lambda record: record.type):
        kind = EVENTS.get(type_name)
        if kind is not None:
            run = list(group)
            events = [kind.read(record.event_id, record.time, record.data) for record in run]
            yield kind, tracing.EachInItsTrace(events, [traces[record.trace] for record in run])


class Consumer:
    """One service drinking from the bus."""

    def __init__(
        self,
        name: str,
        database: Database,
        bus: Bus,
        topics: Sequence[str],
        reactions: Reactions,
        *,
        back_off_seconds: float = 0.2,
    ) -> None:
        self.name = name
        self.database = database
        self.bus = bus
        self.topics = tuple(topics)
        self.reactions = reactions
        self.back_off_seconds = back_off_seconds
        self.heard = Heard()
        self.progress = datetime.now(UTC)
        self.subscription: Subscription | None = None
        self.look_after = timedelta(seconds=5)
        self.taken = 0
        self.failed_batches = 0
        self.buried = 0
        self._committed = -1
        self._begun = self.progress

    async def run(self) -> None:
        """For ever: poll, take in, commit the place. A lost bus or database: begin anew."""
        pause = 0.1
        while True:
            try:
                self.subscription = await self.bus.subscribe(self.name, self.topics)
                self._begun = datetime.now(UTC)
                try:
                    while True:
                        await self._once(self.subscription)
                        pause = 0.1
                finally:
                    await asyncio.shield(self.subscription.close())
            except Exception as error:  # noqa: BLE001  (any failure: begin anew)
                log.warning("consumer %s begins anew in %.1f s: %r", self.name, pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _once(self, subscription: Subscription) -> None:
        records = await subscription.poll(BATCH, 1.0)
        if records:
            await self.take(records)
            crashpoints.reach("before_offset")
            await subscription.commit(records)
            self.progress = datetime.now(UTC)
        elif datetime.now(UTC) - self.progress > self.look_after:
            await self._look(subscription)

    async def _look(self, subscription: Subscription) -> None:
        """Nothing came for a while: is there nothing, does a sibling work, or are we stuck? A consumer can
        stop receiving for good after a broker's restart without any error; then begin anew. Beginning anew
        is no progress: one that never comes loose is seen from outside as stuck."""
        async with asyncio.timeout(PLACE_SECONDS):
            place = await subscription.place()
        moved = place.committed != self._committed
        self._committed = place.committed
        if place.lag == 0 or moved:
            self.progress = datetime.now(UTC)
        elif datetime.now(UTC) - max(self.progress, self._begun) > 3 * self.look_after:
            raise Stuck(f"{self.name}: {place.lag} records wait and none comes")

    async def take(self, records: Sequence[Received]) -> None:
        """Take in a batch whole; if that fails, one record after the other; poison is buried."""
        try:
            await self.effect(records)
        except Exception as error:  # noqa: BLE001  (the single records tell)
            log.info("batch of %d goes one by one: %r", len(records), error)
            self.failed_batches += 1
            for record in records:
                await self._insist(record)
                self.progress = datetime.now(UTC)
        self.taken += len(records)
        await self.heard.tell()

    async def _insist(self, record: Received) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self.effect([record])
            except Exception as error:
                if _transient(error):
                    raise
                if attempt == ATTEMPTS:
                    log.exception("event %s %s is buried", record.type, record.event_id)
                    await self.bus.bury(DeadLetter(record, self.name, repr(error), attempt))
                    self.buried += 1
                    return
                await asyncio.sleep(self.back_off_seconds * 2 ** (attempt - 1))
            else:
                return

    async def effect(self, records: Sequence[Received]) -> None:
        """Take in these records in one transaction, each once ever; raises what a reaction raises."""
        crashpoints.reach("before_inbox")
        with self._processing(records) as traces:
            async with self.database.transaction() as session:
                ids = [record.event_id for record in records]
                fresh = await session.execute(FIRST, {"consumer": self.name, "ids": ids})
                new = set(fresh.scalars())
                for kind, events in runs(_once_each(records, new), traces):
                    for reaction in self.reactions.get(kind, ()):
                        with tracing.same():
                            await reaction(session, events)
        crashpoints.reach("after_effect")

    @contextmanager
    def _processing(self, records: Sequence[Received]) -> Iterator[Mapping[str | None, str | None]]:
        """The taking in of a batch, as a part of every trace among its records; and, for several, as a whole
        beside them, with links. For each record's trace: what happens because of it belongs to this."""
        counts = Count(record.trace for record in records)
        if not tracing.on():
            one = next(iter(counts)) if len(counts) == 1 else None
            with tracing.Part("process", "CONSUMER", one):
                yield {trace: trace for trace in counts}
            return
        name = "process " + ",".join(sorted({record.topic for record in records}))
        told: dict[str, tracing.Attribute] = {
            "messaging.operation.type": "process",
            "messaging.consumer.group.name": self.name,
        }
        traces: dict[str | None, str | None] = {}
        with ExitStack() as stack:
            for trace, count in counts.items():
                size: dict[str, tracing.Attribute] = {"messaging.batch.message_count": count}
                parent, links = trace or tracing.ROOT, [trace] if trace else []
                stack.enter_context(tracing.Part(name, "CONSUMER", parent, links, told | size))
                traces[trace] = tracing.traceparent()
            if len(counts) > 1:
                size = {"messaging.batch.message_count": len(records)}
                links = [trace for trace in traces.values() if trace]
                stack.enter_context(tracing.Part(name, "CONSUMER", tracing.ROOT, links, told | size))
            yield traces


def _once_each(records: Sequence[Received], new: set[Any]) -> list[Received]:
    """The records not seen before, each once even if the batch holds it twice."""
    left = set(new)
    once: list[Received] = []
    for record in records:
        if record.event_id in left:
            left.discard(record.event_id)
            once.append(record)
    return once


def _transient(error: Exception) -> bool:
    """The database is away or was busy (55P03: a lock was not to be had in time): no fault of the record,
    so it is never buried for it."""
    if isinstance(error, OSError | TimeoutError):
        return True
    code = str(getattr(getattr(error, "orig", None), "sqlstate", "") or "")
    away = bool(getattr(error, "connection_invalidated", False))
    return away or code == "55P03" or code[:2] in ("08", "40", "53", "57")
