"""The way over the bus, on a real Apache Kafka, against aiokafka alone on the same broker.

Every record is on the broker's disk when it is acknowledged, as deploy/broker/server.properties has it, and
every commit on PostgreSQL's.

Latency: from the commit in lending to the effect committed in compensation, one fact at a time, against
producing and consuming one record of the same size. Throughput: the relay's rows per second, outbox to
acknowledged and marked, against aiokafka's producer sending the same records with the same settings.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.ground import FOLDER, SETTLE, Rate, execute
from bench.turns import ROUNDS, in_turn
from bench.verdict import Line
from deploy.kafka.broker import Broker, NoBroker
from services.compensation.app import SERVICE as COMPENSATION
from services.lending.app import SERVICE as LENDING
from shared.bus import Outgoing
from shared.clock import SandboxClock
from shared.database import Database, plain_url
from shared.events import TOPICS
from shared.kafka_bus import WRITING, Connection, KafkaBus, headers_of
from shared.outbox import Relay, announce, row_of
from shared.service import Running, World, run
from shared.settings import Settings
from tests.compensation.town import Loan
from tests.ground import DAY, Databases, eventually

SLICES, EACH = 8, 40
"""Ours and the floor take turns in short slices; a round's slices of each are one sample."""
REST_SECONDS = 0.01
"""Between two samples of either: what the one before left to do (marks, offsets) is done by then."""
ROWS = 20_000
ON_DISK = {"flush.messages": "1"}
SLOWER_AT_MOST = {"p50": 3.0, "p99": 2.0}
"""At the median a send stands against a send, three round trips and a commit to disk; at the slow end both
wait for the same disk and processors."""
FASTER_AT_LEAST = 0.4
FILL = """
    INSERT INTO outbox (event_id, topic, key, type, time, trace, data)
    SELECT uuidv7(), $1, 'loan-' || n % 1000, $2, now(), $3, $4 FROM generate_series(1, $5) AS n
"""
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def measure(databases: Databases, *, large: bool) -> list[Line]:
    """Latency p50 and p99, and the relay's rate; nothing where no broker can be had."""
    try:
        with _broker() as broker:
            return [*await _latency(databases, broker), await _throughput(databases, broker)]
    except NoBroker as why:
        print(f"bus: not measured, no Kafka here: {why}", flush=True)
        return []


@contextmanager
def _broker() -> Iterator[Broker]:
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-kafka-", dir=FOLDER))
    try:
        with Broker(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ── latency ──────────────────────────────────────────────────────────────────────────────────────


async def _latency(databases: Databases, broker: Broker) -> list[Line]:
    async with _pair(databases, broker) as (lending, compensation), _raw(broker) as raw:

        async def ours() -> float:
            return await _commit_to_effect(lending, compensation)

        await _round(ours, raw)  # warms up
        rounds = [await _round(ours, raw) for _ in range(ROUNDS)]
    return [_latency_line(rounds, "p50", statistics.median), _latency_line(rounds, "p99", _p99)]


Round = tuple[list[float], list[float]]
"""Seconds of each sample: ours, and the floor's."""


async def _round(ours: Callable[[], Awaitable[float]], raw: Callable[[], Awaitable[float]]) -> Round:
    took: Round = ([], [])
    for number in range(SLICES):
        for kept, one in ((took[0], ours), (took[1], raw))[:: 1 if number % 2 else -1]:
            kept += [await one() for _ in range(EACH)]
    return took


def _p99(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


def _latency_line(rounds: Sequence[Round], which: str, of: Callable[[Sequence[float]], float]) -> Line:
    """The round whose ratio is the median one."""
    told = sorted(((of(ours), of(floor)) for ours, floor in rounds), key=lambda pair: pair[0] / pair[1])
    ours, floor = told[len(told) // 2]
    figures = f"{ours * 1000:.1f} ms against {floor * 1000:.1f} ms"
    name = f"commit to effect, {which} / raw Kafka"
    return Line(name, ours / floor, SLOWER_AT_MOST[which], figures, at_most=True)


@asynccontextmanager
async def _pair(databases: Databases, broker: Broker) -> AsyncIterator[tuple[Running, Running]]:
    """Lending and compensation at work, each on its database, on Kafka between them."""
    async with AsyncExitStack() as stack:
        await _make_topics(broker, TOPICS)
        bus = KafkaBus(Connection(broker.servers))
        await bus.start()
        stack.push_async_callback(bus.close)
        services = (LENDING, COMPENSATION)
        urls = {f"{s.name}_database_url": await databases.fresh(s, s.name) for s in services}
        stack.push_async_callback(databases.drop, *urls.values())
        world = World(Settings.model_validate(urls), SandboxClock(DAY), bus, _no_keys)
        pair = [await stack.enter_async_context(run(service, world)) for service in services]
        await eventually(lambda: _joined(pair), "both consumers at work", 60)
        yield pair[0], pair[1]


async def _joined(pair: Sequence[Running]) -> bool:
    return all(running.consumer.subscription is not None for running in pair)


async def _no_keys() -> dict[str, Any]:
    return {"keys": []}


async def _commit_to_effect(lending: Running, compensation: Running) -> float:
    """Seconds from the end of a commit in lending that announces a filed loan until compensation has
    committed what it remembers of it."""
    taken = compensation.consumer.taken
    news = compensation.heard._news
    async with lending.database.transaction() as session:
        announce(session, Loan(50_000_000).filed())
    began = time.perf_counter()
    async with news:
        await news.wait_for(lambda: compensation.consumer.taken > taken)
    took = time.perf_counter() - began
    await asyncio.sleep(REST_SECONDS)
    return took


@asynccontextmanager
async def _raw(broker: Broker) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Produce one record of the same size and read it, with aiokafka alone."""
    topic = f"raw-{uuid4()}"
    record = _record(topic, "loan")
    await _make_topics(broker, [topic])
    producer = AIOKafkaProducer(bootstrap_servers=broker.servers, acks="all", enable_idempotence=True)
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.servers, auto_offset_reset="earliest")
    async with AsyncExitStack() as stack:
        for part in (producer, consumer):
            await part.start()
            stack.push_async_callback(part.stop)
        consumer.assign([TopicPartition(topic, 0)])

        async def one() -> float:
            began = time.perf_counter()
            await producer.send(topic, record.data, key=record.key.encode(), headers=headers_of(record))
            await consumer.getone()
            took = time.perf_counter() - began
            await asyncio.sleep(REST_SECONDS)
            return took

        yield one


def _record(topic: str, key: str) -> Outgoing:
    row = row_of(Loan(50_000_000).filed(), TRACE)
    return Outgoing(topic, key, row["event_id"], row["type"], row["time"], TRACE, row["data"].encode())


async def _make_topics(broker: Broker, names: Sequence[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=ON_DISK) for name in names])
    finally:
        await admin.close()


# ── throughput ───────────────────────────────────────────────────────────────────────────────────


async def _throughput(databases: Databases, broker: Broker) -> Line:
    url = await databases.fresh(LENDING, LENDING.name)
    topic = f"kechuang.bench-{uuid4()}"
    bus = KafkaBus(Connection(broker.servers), [topic])
    await _make_topics(broker, [topic])
    await bus.start()
    await bus.ping()
    database = Database(url, pool=2)
    try:

        async def ours() -> Rate:
            await _fill(url, topic)
            return await _relay(database, bus)

        async def floor() -> Rate:
            return await _producer_alone(broker, topic, await _rows(url))

        await _fill(url, topic)
        turns = await in_turn(ours, floor)
    finally:
        await database.close()
        await bus.close()
        await databases.drop(url)
    figures = f"{turns.one_per_second:,.0f}/s against {turns.other_per_second:,.0f}/s"
    return Line("relay rows / aiokafka's producer", turns.ratio, FASTER_AT_LEAST, figures)


async def _fill(url: str, topic: str) -> None:
    record = _record(topic, "")
    connection = await asyncpg.connect(plain_url(url))
    try:
        await connection.execute("TRUNCATE outbox")
        await connection.execute(FILL, topic, record.type, record.trace, record.data.decode(), ROWS)
    finally:
        await connection.close()
    await execute(url, *SETTLE)


async def _relay(database: Database, bus: KafkaBus) -> Rate:
    """The relay from its start until every row is published and marked."""
    relay = Relay(database, bus)
    began = time.perf_counter()
    work = asyncio.create_task(relay.run())
    try:
        while relay.published < ROWS:  # noqa: ASYNC110  (it tells nobody else)
            await asyncio.sleep(0.001)
        return Rate(ROWS, time.perf_counter() - began)
    finally:
        work.cancel()
        await asyncio.wait([work])


async def _rows(url: str) -> list[Outgoing]:
    connection = await asyncpg.connect(plain_url(url))
    try:
        rows = await connection.fetch("SELECT * FROM outbox ORDER BY seq")
    finally:
        await connection.close()
    return [
        Outgoing(r["topic"], r["key"], r["event_id"], r["type"], r["time"], r["trace"], r["data"].encode())
        for r in rows
    ]


async def _producer_alone(broker: Broker, topic: str, records: Sequence[Outgoing]) -> Rate:
    """The same records, their headers made beforehand, sent as fast as the producer takes them."""
    messages = [(r.data, r.key.encode(), headers_of(r)) for r in records]
    producer = AIOKafkaProducer(bootstrap_servers=broker.servers, **WRITING)
    await producer.start()
    try:
        began = time.perf_counter()
        sent = [
            await producer.send(topic, value, key=key, headers=headers) for value, key, headers in messages
        ]
        await asyncio.gather(*sent)
        return Rate(len(records), time.perf_counter() - began)
    finally:
        await producer.stop()
