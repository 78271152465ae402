"""The bus over Apache Kafka, through aiokafka: the same promise as `bus.py`, for the production form.

CloudEvents 1.0 in Kafka's binary mode: attributes in `ce_` headers, the key is the aggregate's id, the
value is the JSON data. Writes are idempotent with acks=all; reads commit exactly the offsets dealt with.

Two traps of aiokafka are answered here. An idempotent producer that met a non-retriable error fails for
ever: it is thrown away and a new one is made. With brokers away a send waits for ever: every send has a
limit, after which the outbox sends again and the inbox takes each fact once. (The third, a consumer that
sticks after a broker's restart, is answered by the inbox's watch on progress.)
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, TopicAlreadyExistsError

from shared.bus import DeadLetter, Outgoing, Place, Places, Received, Subscription
from shared.events import TOPICS
from shared.settings import Settings

log = logging.getLogger("kechuang.kafka")

DEAD = ".DLT"
OPERATORS = "kechuang.operators"
SEND_SECONDS = 30.0
STOP_SECONDS = 5.0
FOR_EVER = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
WRITING: Mapping[str, Any] = {
    "acks": "all",
    "enable_idempotence": True,
    "linger_ms": 0,
    "max_batch_size": 256 * 1024,
    "request_timeout_ms": 15_000,
}


@dataclass(frozen=True)
class Connection:
    """How to reach the brokers, and how many partitions and copies new topics get."""

    servers: str
    protocol: str = "PLAINTEXT"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    partitions: int = 6
    replicas: int = 1

    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"bootstrap_servers": self.servers, "security_protocol": self.protocol}
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = ssl.create_default_context(cafile=self.ca_file or None)
        if self.protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options


def headers_of(record: Outgoing) -> list[tuple[str, bytes]]:
    """The CloudEvents attributes as Kafka headers (binary content mode)."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(record.event_id).encode()),
        ("ce_source", b"/" + record.topic.encode()),
        ("ce_type", record.type.encode()),
        ("ce_time", record.time.isoformat().encode()),
        ("content-type", b"application/json"),
    ]
    if record.trace:
        headers.append(("ce_traceparent", record.trace.encode()))
    return headers


def received(message: Any) -> Received:
    """A message of ours as a record."""
    headers = dict(message.headers)
    return Received(
        topic=message.topic,
        key=message.key.decode(),
        event_id=UUID(headers["ce_id"].decode()),
        type=headers["ce_type"].decode(),
        time=datetime.fromisoformat(headers["ce_time"].decode()),
        trace=headers["ce_traceparent"].decode() if "ce_traceparent" in headers else None,
        data=message.value,
        partition=message.partition,
        offset=message.offset,
    )


class KafkaBus:
    """Keeps the promise of `bus.py` on a Kafka cluster."""

    def __init__(self, connection: Connection, topics: Sequence[str] = TOPICS) -> None:
        self.connection = connection
        self.topics = tuple(topics)
        self._producer: AIOKafkaProducer | None = None
        self._one_maker = asyncio.Lock()

    @classmethod
    def by(cls, settings: Settings) -> KafkaBus:
        return cls(
            Connection(
                settings.kafka_servers,
                settings.kafka_protocol,
                settings.kafka_username,
                settings.kafka_password,
                settings.kafka_ca_file,
                settings.kafka_partitions,
                settings.kafka_replicas,
            )
        )

    async def start(self) -> None:
        """Make the topics that are not there: ours, kept for ever, and their dead letters."""
        admin = AIOKafkaAdminClient(**self.connection.options())
        await admin.start()
        try:
            there = set(await admin.list_topics())
            wanted = [name for topic in self.topics for name in (topic, topic + DEAD)]
            for name in wanted:
                if name not in there:
                    with suppress(TopicAlreadyExistsError):
                        await admin.create_topics([self._topic(name)])
        finally:
            await admin.close()

    def _topic(self, name: str) -> NewTopic:
        partitions = 1 if name.endswith(DEAD) else self.connection.partitions
        return NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=self.connection.replicas,
            topic_configs=FOR_EVER,
        )

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await self._send([(r.topic, r.key.encode(), r.data, headers_of(r)) for r in records])

    async def _send(self, messages: Sequence[tuple[str, bytes, bytes, list[tuple[str, bytes]]]]) -> None:
        producer = await self._ready_producer()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                sent = [
                    await producer.send(topic, value, key=key, headers=headers)
                    for topic, key, value, headers in messages
                ]
                await asyncio.gather(*sent)
        except (KafkaError, TimeoutError, asyncio.CancelledError):
            await self._throw_away(producer)
            raise

    async def _ready_producer(self) -> AIOKafkaProducer:
        async with self._one_maker:
            if self._producer is None:
                producer = AIOKafkaProducer(**self.connection.options(), **WRITING)
                try:
                    await producer.start()
                except BaseException:
                    await _stop(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _throw_away(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
        await _stop(producer)

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        subscription = KafkaSubscription(self.connection, group, topics)
        await subscription.start()
        return subscription

    async def history(self, topics: Sequence[str]) -> AsyncIterator[list[Received]]:
        async with self._reader(None) as consumer:
            partitions = await self._partitions(topics)
            begins = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            for partition in partitions:
                if begins[partition] < ends[partition]:
                    consumer.assign([partition])
                    async for batch in _up_to(consumer, partition, begins[partition], ends[partition]):
                        yield [received(message) for message in batch]

    async def _partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        admin = AIOKafkaAdminClient(**self.connection.options())
        await admin.start()
        try:
            described = await admin.describe_topics(list(topics))
        finally:
            await admin.close()
        return [
            TopicPartition(told["topic"], number)
            for told in described
            for number in sorted(partition["partition"] for partition in told["partitions"])
        ]

    async def bury(self, letter: DeadLetter) -> None:
        record = letter.record
        coordinates = {
            "kafka_dlt-original-topic": record.topic.encode(),
            "kafka_dlt-original-partition": record.partition.to_bytes(4, "big"),
            "kafka_dlt-original-offset": record.offset.to_bytes(8, "big"),
            "kafka_dlt-original-consumer-group": letter.group.encode(),
            "kafka_dlt-exception-message": letter.error[:2000].encode(),
            "kechuang-attempts": str(letter.attempts).encode(),
        }
        headers = [*headers_of(record), *coordinates.items()]
        await self._send([(record.topic + DEAD, record.key.encode(), record.data, headers)])

    async def dead_letters(self, topic: str) -> Sequence[DeadLetter]:
        partition = TopicPartition(topic + DEAD, 0)
        async with self._reader(OPERATORS) as consumer:
            consumer.assign([partition])
            dealt_with = await consumer.committed(partition) or 0
            return [
                _letter(message)
                async for batch in _from(consumer, partition, dealt_with)
                for message in batch
            ]

    async def clear_dead_letters(self, topic: str, letters: Sequence[DeadLetter]) -> None:
        """The operators' group moves past these letters: they stay in the topic as history."""
        if not letters:
            return
        cleared = {(x.record.partition, x.record.offset, x.group) for x in letters}
        partition = TopicPartition(topic + DEAD, 0)
        async with self._reader(OPERATORS) as consumer:
            consumer.assign([partition])
            place = await consumer.committed(partition) or 0
            async for batch in _from(consumer, partition, place):
                for message in batch:
                    letter = _letter(message)
                    if (letter.record.partition, letter.record.offset, letter.group) in cleared:
                        place = message.offset + 1
            await consumer.commit({partition: place})

    async def places(self, group: str, topics: Sequence[str]) -> Places:
        async with self._reader(group) as consumer:
            partitions = await self._partitions(topics)
            consumer.assign(partitions)
            committed = {partition: await consumer.committed(partition) for partition in partitions}
        return {(p.topic, p.partition): offset for p, offset in committed.items() if offset is not None}

    async def set_places(self, group: str, places: Places) -> None:
        if not places:
            return
        offsets = {TopicPartition(topic, number): offset for (topic, number), offset in places.items()}
        async with self._reader(group) as consumer:
            consumer.assign(list(offsets))
            await consumer.commit(offsets)

    @asynccontextmanager
    async def _reader(self, group: str | None) -> AsyncIterator[AIOKafkaConsumer]:
        """Reads what it is assigned, and speaks for the group, if any, without joining it."""
        consumer = AIOKafkaConsumer(**self.connection.options(), group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            yield consumer
        finally:
            await _stop(consumer)

    async def ping(self) -> None:
        producer = await self._ready_producer()
        async with asyncio.timeout(STOP_SECONDS):
            await producer.client.fetch_all_metadata()

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)


def _letter(message: Any) -> DeadLetter:
    headers = dict(message.headers)
    record = received(message)
    original = Received(
        topic=headers["kafka_dlt-original-topic"].decode(),
        key=record.key,
        event_id=record.event_id,
        type=record.type,
        time=record.time,
        trace=record.trace,
        data=record.data,
        partition=int.from_bytes(headers["kafka_dlt-original-partition"], "big"),
        offset=int.from_bytes(headers["kafka_dlt-original-offset"], "big"),
    )
    return DeadLetter(
        original,
        headers["kafka_dlt-original-consumer-group"].decode(),
        headers["kafka_dlt-exception-message"].decode(),
        int(headers["kechuang-attempts"]),
    )


async def _from(
    consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int
) -> AsyncIterator[list[Any]]:
    """The messages of one assigned partition from an offset to its present end."""
    end = (await consumer.end_offsets([partition]))[partition]
    start = max(offset, (await consumer.beginning_offsets([partition]))[partition])
    async for batch in _up_to(consumer, partition, start, end):
        yield batch


async def _up_to(
    consumer: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int
) -> AsyncIterator[list[Any]]:
    """The messages of one assigned partition from an offset to before another."""
    consumer.seek(partition, start)
    while start < end:
        batches = await consumer.getmany(partition, timeout_ms=1000, max_records=1000)
        for messages in batches.values():
            yield [message for message in messages if message.offset < end]
            start = messages[-1].offset + 1


class KafkaSubscription:
    """One member of a consumer group; offsets are committed only by `commit`, exactly."""

    def __init__(self, connection: Connection, group: str, topics: Sequence[str]) -> None:
        self.group = group
        self.topics = tuple(topics)
        self._consumer = AIOKafkaConsumer(
            **connection.options(),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=3_000,
            max_poll_interval_ms=300_000,
            isolation_level="read_committed",
            metadata_max_age_ms=30_000,
        )

    async def start(self) -> None:
        self._consumer.subscribe(self.topics, listener=_Rebalances(self.group))
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._consumer.start()
        except BaseException:
            await _stop(self._consumer)
            raise

    async def poll(self, limit: int, wait_seconds: float) -> list[Received]:
        batches = await self._consumer.getmany(timeout_ms=int(wait_seconds * 1000), max_records=limit)
        return [received(message) for messages in batches.values() for message in messages]

    async def commit(self, records: Sequence[Received]) -> None:
        """Commit exactly these records. A partition that moved to a sibling meanwhile is left to it: it
        reads these records again and the inbox knows them."""
        offsets: dict[TopicPartition, int] = {}
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            offsets[partition] = max(offsets.get(partition, 0), record.offset + 1)
        mine = self._consumer.assignment()
        offsets = {partition: offset for partition, offset in offsets.items() if partition in mine}
        if offsets:
            with suppress(CommitFailedError, IllegalStateError):
                await self._consumer.commit(offsets)

    async def rewind(self) -> None:
        for partition in self._consumer.assignment():
            self._consumer.seek(partition, await self._consumer.committed(partition) or 0)

    async def place(self) -> Place:
        """Over all partitions of the topics, whoever of the group reads them."""
        partitions = [
            TopicPartition(topic, number)
            for topic in self.topics
            for number in self._consumer.partitions_for_topic(topic) or ()
        ]
        ends = await self._consumer.end_offsets(partitions)
        committed = [await self._consumer.committed(partition) or 0 for partition in partitions]
        return Place(sum(committed), sum(ends.values()))

    async def close(self) -> None:
        await _stop(self._consumer)


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Says when partitions move: the first question after a stuck consumer."""

    def __init__(self, group: str) -> None:
        self.group = group

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        log.info("%s gives up %d partitions", self.group, len(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("%s is given %d partitions", self.group, len(assigned))


async def _stop(part: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Stop with a limit, in a task apart. With brokers away aiokafka's own stop can wait for ever, swallow
    the cancellation that is to end it, or let out the cancellation of a task of its own, which would end
    ours as if somebody had asked for it."""
    stopping = asyncio.create_task(part.stop())
    _stopping.add(stopping)
    stopping.add_done_callback(_stopped)
    done, _ = await asyncio.wait([stopping], timeout=STOP_SECONDS)
    if not done:
        stopping.cancel()


_stopping: set[asyncio.Task[None]] = set()
"""Held, because the loop itself holds tasks only weakly."""


def _stopped(stopping: asyncio.Task[None]) -> None:
    _stopping.discard(stopping)
    if not stopping.cancelled() and (error := stopping.exception()) is not None:
        log.info("stopping a client of the brokers: %r", error)
