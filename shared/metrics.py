"""What the process tells Prometheus of its services, by service.

Requests are counted where they are answered. All else is read when Prometheus asks: the loops keep plain
numbers, and each database is asked one cheap question (see `readiness.py`), with a limit. What cannot be
had at the moment is left out, never guessed.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import QueuePool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.bus import Place
from shared.clock import Clock
from shared.database import Database
from shared.days import Days
from shared.inbox import Consumer
from shared.outbox import Relay
from shared.readiness import COUNTED, Probe, Readiness, Waiting

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each of ours, which nobody asks for


@dataclass
class Works:
    """One service at work, as far as it is measured."""

    name: str
    database: Database
    relay: Relay
    consumer: Consumer | None
    days: Days
    clock: Clock
    readiness: Readiness
    failures: Count[str] = field(default_factory=Count)
    """How often each background task ended by an error and began anew."""
    faults: dict[str, str] = field(default_factory=dict)
    waiting: Waiting | None = None
    lag: int | None = None

    def __post_init__(self) -> None:
        self._place = Probe(self._asked_place)

    @property
    def pool(self) -> QueuePool:
        return cast(QueuePool, self.database.engine.pool)

    @property
    def days_behind(self) -> int | None:
        """Business days that have begun and whose daily work is not done."""
        return None if self.days.done is None else (self.clock.today() - self.days.done).days

    async def look(self) -> None:
        """Read what only the outside knows; never longer than the probes' limit, and nothing is raised."""
        (self.faults, self.waiting), place = await asyncio.gather(self.readiness.look(), self._stands())
        self.lag = place.lag if place else None

    async def _stands(self) -> Place | None:
        try:
            return await self._place.answer()
        except Exception:  # noqa: BLE001  (without an answer there is no figure)
            return None

    async def _asked_place(self) -> Place | None:
        if self.consumer is None or self.consumer.subscription is None:
            return None
        return await self.consumer.subscription.place()

    def close(self) -> None:
        self._place.close()
        self.readiness.close()


Value = Callable[[Works], float | None]
GAUGES: tuple[tuple[str, str, Value], ...] = (
    ("outbox_unpublished", f"Facts that wait to be published; counted up to {COUNTED}",
     lambda w: w.waiting.unpublished if w.waiting else None),
    ("outbox_oldest_seconds", "Age of the first fact that waits to be published; 0: none waits",
     lambda w: w.waiting.oldest_unpublished if w.waiting else None),
    ("audit_unsealed", f"Audit rows that wait for their seal; counted up to {COUNTED}",
     lambda w: w.waiting.unsealed if w.waiting else None),
    ("audit_oldest_seconds", "Age of the first audit row that waits for its seal; 0: none waits",
     lambda w: w.waiting.oldest_unsealed if w.waiting else None),
    ("consumer_lag", "Records the service's group has not taken in yet",
     lambda w: w.lag),
    ("business_day_done", "The last business day whose daily work is done, as YYYYMMDD",
     lambda w: _as_number(w.days.done)),
    ("business_days_behind", "Business days that have begun and whose daily work is not done",
     lambda w: w.days_behind),
    ("database_pool_in_use", "Connections of the pool at work",
     lambda w: w.pool.checkedout()),
    ("database_pool_size", "Connections the pool may have",
     lambda w: w.pool.size()),
)  # fmt: skip
COUNTERS: tuple[tuple[str, str, Value], ...] = (
    ("outbox_published", "Facts published", lambda w: w.relay.published),
    ("consumer_taken", "Records taken in, those known already among them",
     lambda w: w.consumer.taken if w.consumer else None),
    ("consumer_failed_batches", "Batches that failed and were taken in record by record",
     lambda w: w.consumer.failed_batches if w.consumer else None),
    ("consumer_buried", "Records put into the dead letters",
     lambda w: w.consumer.buried if w.consumer else None),
)  # fmt: skip


def _as_number(day: date | None) -> int | None:
    return None if day is None else day.year * 10_000 + day.month * 100 + day.day


class Metrics:
    """The metrics of one process. Services at work in it are watched from `watch` to `unwatch`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "kechuang_request_duration_seconds",
            "Requests answered, by operation and class of status, and how long they took",
            ("service", "operation", "method", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.reruns = Counter(
            "kechuang_command_reruns",
            "Commands run anew because another committed first",
            ("service", "operation"),
            registry=self.registry,
        )
        self._lines: dict[tuple[str, str, str, int], Histogram] = {}
        self.works: list[Works] = []
        self.registry.register(_OfWorks(self.works))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def seen(self, name: str) -> Callable[[str, str, int, float], None]:
        """Takes the requests of one service: operation, method, status, seconds."""

        def take(operation: str, method: str, status: int, seconds: float) -> None:
            line = self._lines.get((name, operation, method, status))
            if line is None:
                line = self._seconds.labels(name, operation, method, f"{status // 100}xx")
                self._lines[name, operation, method, status] = line
            line.observe(seconds)

        return take

    def watch(self, works: Works) -> None:
        self.works.append(works)

    def unwatch(self, works: Works) -> None:
        self.works.remove(works)
        works.close()

    async def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        await asyncio.gather(*(works.look() for works in self.works))
        return generate_latest(self.registry)

    def app(self) -> Starlette:
        """`GET /metrics`, and nothing else; for a port of its own."""

        async def metrics(_: Request) -> Response:
            return Response(await self.exposition(), media_type=MEDIA_TYPE)

        return Starlette(routes=[Route("/metrics", metrics)])


class _OfWorks(Collector):
    """The figures the services' loops and databases gave."""

    def __init__(self, works: Iterable[Works]) -> None:
        self._works = works

    def collect(self) -> Iterator[Metric]:
        for name, words, value in GAUGES:
            yield self._filled(GaugeMetricFamily(f"kechuang_{name}", words, labels=("service",)), value)
        for name, words, value in COUNTERS:
            yield self._filled(CounterMetricFamily(f"kechuang_{name}", words, labels=("service",)), value)
        ready = GaugeMetricFamily(
            "kechuang_ready", "1: the part is able; 0: it is not", labels=("service", "part")
        )
        ended = CounterMetricFamily(
            "kechuang_background_failures",
            "Background tasks that ended by an error and began anew",
            labels=("service", "task"),
        )
        for works in self._works:
            for part in works.readiness.parts:
                ready.add_metric((works.name, part), part not in works.faults)
            for task, times in works.failures.items():
                ended.add_metric((works.name, task), times)
        yield from (ready, ended)

    def _filled(
        self, family: GaugeMetricFamily | CounterMetricFamily, value: Value
    ) -> GaugeMetricFamily | CounterMetricFamily:
        for works in self._works:
            figure = value(works)
            if figure is not None:
                family.add_metric((works.name,), figure)
        return family
