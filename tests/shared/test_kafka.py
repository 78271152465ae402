"""What is Kafka's alone: the wire form, TLS with SCRAM, and the traps of its client with our answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat

from deploy.kafka.broker import PASSWORD, USER, Broker
from shared import kafka_bus
from shared.bus import Outgoing, Received
from shared.kafka_bus import Connection, KafkaBus, headers_of

pytestmark = [
    pytest.mark.kafka,
    # A killed broker leaves aiokafka's own sockets to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
AT = datetime(2026, 3, 2, 1, 2, 3, tzinfo=UTC)


def fact(topic: str, number: int) -> Outgoing:
    return Outgoing(topic, "loan", UUID(int=number), "LoanFiled", AT, None, b'{"n":1}')


async def read(bus: KafkaBus, topic: str, count: int, group: str = "readers") -> list[Received]:
    subscription = await bus.subscribe(group, [topic])
    found: list[Received] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await subscription.poll(100, 1.0)
    await subscription.commit(found)
    await subscription.close()
    return found


def test_the_wire_form_is_a_cloudevent_that_others_read() -> None:
    sent = Outgoing("kechuang.lending", "loan", UUID(int=7), "LoanFiled", AT, "00-aa-bb-01", b'{"n":1}')
    message = KafkaMessage(headers=dict(headers_of(sent)), key=b"loan", value=sent.data)
    event = from_binary_event(message, JSONFormat())
    attributes = event.get_attributes()
    assert attributes["id"] == str(UUID(int=7))
    assert attributes["type"] == "LoanFiled"
    assert attributes["source"] == "/kechuang.lending"
    assert attributes["time"] == AT
    assert attributes["specversion"] == "1.0"
    assert event.get_data() == {"n": 1}


async def test_over_tls_with_scram_records_arrive(broker: Broker) -> None:
    topic = f"secure-{uuid4()}"
    connection = Connection(broker.secure_servers, "SASL_SSL", USER, PASSWORD, str(broker.ca_file))
    bus = KafkaBus(connection, [topic])
    await bus.start()
    await bus.publish([fact(topic, 1)])
    assert [record.event_id.int for record in await read(bus, topic, 1, f"g-{uuid4()}")] == [1]
    await bus.close()


async def test_a_wrong_password_is_refused(broker: Broker) -> None:
    connection = Connection(broker.secure_servers, "SASL_SSL", USER, "wrong", str(broker.ca_file))
    with pytest.raises(KafkaError):
        await KafkaBus(connection, ["never"]).start()


async def test_topics_are_kept_for_ever_and_made_once(broker: Broker) -> None:
    topic = f"made-{uuid4()}"
    bus = KafkaBus(Connection(broker.servers, partitions=3), [topic])
    await bus.start()
    await bus.start()
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.servers)
    await consumer.start()
    assert {topic, topic + ".DLT"} <= await consumer.topics()
    await consumer.stop()


async def test_a_send_with_the_broker_away_ends_and_the_next_one_arrives(
    own_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The trap: with idempotence on, aiokafka waits for ever for a broker that does not answer.
    monkeypatch.setattr("shared.kafka_bus.SEND_SECONDS", 1.0)
    topic = "kechuang.lending"
    bus = KafkaBus(Connection(own_broker.servers), [topic])
    await bus.start()
    await bus.publish([fact(topic, 1)])
    own_broker.pause()
    with pytest.raises((TimeoutError, KafkaError)):
        await bus.publish([fact(topic, 2)])
    own_broker.resume()
    monkeypatch.setattr("shared.kafka_bus.SEND_SECONDS", 30.0)
    await bus.publish([fact(topic, 3)])
    told = {record.event_id.int async for batch in bus.history([topic]) for record in batch}
    assert {1, 3} <= told
    await bus.close()


async def test_after_a_broker_was_killed_and_came_back_publishing_and_reading_go_on(
    own_broker: Broker,
) -> None:
    topic = "kechuang.lending"
    bus = KafkaBus(Connection(own_broker.servers), [topic])
    await bus.start()
    await bus.publish([fact(topic, 1)])
    subscription = await bus.subscribe("compensation", [topic])
    first: list[Received] = []
    async with asyncio.timeout(60):
        while not first:
            first = await subscription.poll(10, 1.0)
    await subscription.commit(first)
    own_broker.kill()
    own_broker.start()
    async with asyncio.timeout(90):
        published = False
        while not published:
            try:
                await bus.publish([fact(topic, 2)])
                published = True
            except (KafkaError, TimeoutError):
                await asyncio.sleep(0)
        # The trap: the old subscription may never bring anything again. Whoever watches progress
        # closes it and subscribes anew, from the committed place.
        second = await subscription.poll(10, 3.0)
        await subscription.close()
        if not second:
            anew = await bus.subscribe("compensation", [topic])
            while not second:
                second = await anew.poll(10, 1.0)
            await anew.close()
    assert {record.event_id.int for record in second} == {2}
    await bus.close()


class Stubborn:
    """A client of the brokers whose stop goes wrong in one of the ways aiokafka's does."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def stop(self) -> None:
        if self.how == "lets a cancellation out":
            raise asyncio.CancelledError
        if self.how == "fails":
            raise KafkaError
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            if self.how == "ends when cancelled":
                return
            self.how = "ends when cancelled"  # the first cancellation is swallowed


@pytest.mark.parametrize("how", ["lets a cancellation out", "fails", "swallows a cancellation"])
async def test_stopping_a_client_ends_in_time_and_ends_nobody_else(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_bus, "STOP_SECONDS", 0.01)
    stubborn = Stubborn(how)
    async with asyncio.timeout(5):
        await kafka_bus._stop(stubborn)
    while kafka_bus._stopping:
        task = next(iter(kafka_bus._stopping))
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
