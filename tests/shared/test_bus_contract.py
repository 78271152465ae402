"""What a bus promises, tried on every bus we have. Expectations are written by hand, never computed by a
helper both buses share, so that neither can pass against itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from deploy.kafka.broker import Broker
from shared.bus import Bus, DeadLetter, Outgoing, Received, Subscription
from shared.kafka_bus import Connection, KafkaBus
from shared.postgres_bus import PostgresBus
from tests.ground import Databases

AT = datetime(2026, 3, 2, 1, 2, 3, tzinfo=UTC)
Open = Callable[[], Awaitable[Bus]]
KINDS = ("postgres", pytest.param("kafka", marks=pytest.mark.kafka))


def fact(topic: str, number: int, key: str = "loan") -> Outgoing:
    event_id = UUID(int=number)
    return Outgoing(topic, key, event_id, "LoanFiled", AT, None, f'{{"n":{number}}}'.encode())


def numbers(records: list[Received]) -> list[int]:
    return [record.event_id.int for record in records]


async def take(subscription: Subscription, count: int) -> list[Received]:
    """Poll until `count` records came (within 40 s), committing nothing."""
    found: list[Received] = []
    async with asyncio.timeout(40):
        while len(found) < count:
            found += await subscription.poll(100, 1.0)
    return found


@pytest.fixture
def topic() -> str:
    """A topic of the test's own: one broker serves the whole run."""
    return f"kechuang.lending-{uuid4()}"


@pytest.fixture
def group() -> str:
    return f"compensation-{uuid4()}"


@pytest.fixture(params=KINDS)
async def open_bus(request: pytest.FixtureRequest, topic: str) -> AsyncIterator[Open]:
    """Opens buses that are the same log, each as another process would."""
    opened: list[Bus] = []
    make: Callable[[], Bus]
    if request.param == "kafka":
        broker: Broker = request.getfixturevalue("broker")
        connection = Connection(broker.servers, partitions=3)

        def make() -> Bus:
            return KafkaBus(connection, [topic])
    else:
        databases: Databases = request.getfixturevalue("databases")
        url = await databases.fresh(None, "bus")

        def make() -> Bus:
            return PostgresBus(url, poll_seconds=0.05)

    async def open_one() -> Bus:
        bus = make()
        await bus.start()
        opened.append(bus)
        return bus

    yield open_one
    for bus in opened:
        await bus.close()


async def test_a_record_arrives_as_it_was_sent(open_bus: Open, topic: str, group: str) -> None:
    bus = await open_bus()
    subscription = await bus.subscribe(group, [topic])
    sent = Outgoing(topic, "企业", UUID(int=7), "LoanFiled", AT, "00-trace-01", '{"名":"科创"}'.encode())
    await bus.publish([sent])
    [record] = await take(subscription, 1)
    assert (record.topic, record.key, record.event_id, record.type) == (
        topic,
        "企业",
        UUID(int=7),
        "LoanFiled",
    )
    assert (record.time, record.trace, record.data) == (AT, "00-trace-01", '{"名":"科创"}'.encode())
    await subscription.close()


async def test_records_of_a_key_come_in_the_order_they_were_published(
    open_bus: Open, topic: str, group: str
) -> None:
    bus = await open_bus()
    subscription = await bus.subscribe(group, [topic])
    await bus.publish([fact(topic, 1, "a"), fact(topic, 2, "b"), fact(topic, 3, "a")])
    await bus.publish([fact(topic, 4, "b"), fact(topic, 5, "a")])
    records = await take(subscription, 5)
    assert [r.event_id.int for r in records if r.key == "a"] == [1, 3, 5]
    assert [r.event_id.int for r in records if r.key == "b"] == [2, 4]
    await subscription.close()


async def test_a_group_that_is_new_reads_from_the_beginning(open_bus: Open, topic: str, group: str) -> None:
    bus = await open_bus()
    await bus.publish([fact(topic, 1), fact(topic, 2)])
    subscription = await bus.subscribe(group, [topic])
    assert numbers(await take(subscription, 2)) == [1, 2]
    await subscription.close()


async def test_what_was_not_committed_comes_again(open_bus: Open, topic: str, group: str) -> None:
    bus = await open_bus()
    await bus.publish([fact(topic, 1), fact(topic, 2), fact(topic, 3)])
    first = await bus.subscribe(group, [topic])
    records = await take(first, 3)
    await first.commit(records[:1])
    await first.close()
    second = await bus.subscribe(group, [topic])
    assert numbers(await take(second, 2)) == [2, 3]
    await second.close()


async def test_rewind_goes_back_to_what_is_committed(open_bus: Open, topic: str, group: str) -> None:
    bus = await open_bus()
    await bus.publish([fact(topic, 1), fact(topic, 2)])
    subscription = await bus.subscribe(group, [topic])
    records = await take(subscription, 2)
    await subscription.commit(records[:1])
    await subscription.rewind()
    assert numbers(await take(subscription, 1)) == [2]
    await subscription.close()


async def test_groups_do_not_disturb_each_other(open_bus: Open, topic: str, group: str) -> None:
    bus = await open_bus()
    await bus.publish([fact(topic, 1)])
    one = await bus.subscribe(group, [topic])
    other = await bus.subscribe(group + "-other", [topic])
    await one.commit(await take(one, 1))
    assert numbers(await take(other, 1)) == [1]
    await one.close()
    await other.close()


async def test_of_two_members_of_a_group_one_takes_over_when_the_other_goes(
    open_bus: Open, topic: str, group: str
) -> None:
    one_bus, other_bus = await open_bus(), await open_bus()
    one = await one_bus.subscribe(group, [topic])
    await one_bus.publish([fact(topic, 1)])
    await one.commit(await take(one, 1))
    other = await other_bus.subscribe(group, [topic])
    await one_bus.publish([fact(topic, 2)])
    # Either may be given the key's place when the second joins; only one of them reads it.
    found: list[Received] = []
    reader, waiting = one, other
    async with asyncio.timeout(40):
        while not found:
            reader, waiting = waiting, reader
            found = await reader.poll(100, 0.5)
    assert numbers(found) == [2]
    await reader.close()
    assert numbers(await take(waiting, 1)) == [2]
    await waiting.close()


async def test_an_empty_poll_returns_after_its_wait(open_bus: Open, topic: str, group: str) -> None:
    bus = await open_bus()
    subscription = await bus.subscribe(group, [topic])
    assert await subscription.poll(10, 0.2) == []
    await subscription.close()


async def test_a_record_published_by_another_process_is_found(open_bus: Open, topic: str, group: str) -> None:
    here, there = await open_bus(), await open_bus()
    subscription = await here.subscribe(group, [topic])
    assert await subscription.poll(10, 0.2) == []
    await there.publish([fact(topic, 1)])
    assert numbers(await take(subscription, 1)) == [1]
    await subscription.close()


async def test_lag_counts_what_is_not_committed(open_bus: Open, topic: str, group: str) -> None:
    bus = await open_bus()
    subscription = await bus.subscribe(group, [topic])
    await bus.publish([fact(topic, n) for n in range(1, 6)])
    records = await take(subscription, 5)
    await subscription.commit(records[:2])
    assert (await subscription.place()).lag == 3
    await subscription.commit(records)
    assert (await subscription.place()).lag == 0
    await subscription.close()


async def test_history_is_everything_from_the_beginning(open_bus: Open, topic: str, group: str) -> None:
    bus = await open_bus()
    await bus.publish([fact(topic, n) for n in range(1, 2501)])
    subscription = await bus.subscribe(group, [topic])
    await subscription.commit(await take(subscription, 2500))
    told = [record.event_id.int async for batch in bus.history([topic]) for record in batch]
    assert told == list(range(1, 2501))
    await subscription.close()


async def test_a_buried_record_can_be_looked_at_sent_again_and_is_then_gone(
    open_bus: Open, topic: str, group: str
) -> None:
    bus = await open_bus()
    await bus.publish([fact(topic, 1), fact(topic, 2)])
    subscription = await bus.subscribe(group, [topic])
    poison, fine = await take(subscription, 2)
    await bus.bury(DeadLetter(poison, group, "ValueError('poison')", 5))
    await subscription.commit([poison, fine])
    [letter] = await bus.dead_letters(topic)
    assert (letter.record.event_id, letter.group, letter.attempts) == (UUID(int=1), group, 5)
    assert letter.error == "ValueError('poison')"
    assert (letter.record.partition, letter.record.offset) == (poison.partition, poison.offset)
    await bus.publish([letter.record])
    await bus.clear_dead_letters(topic, [letter])
    assert numbers(await take(subscription, 1)) == [1]
    assert list(await bus.dead_letters(topic)) == []
    await subscription.close()


async def test_a_closed_bus_can_be_opened_anew_with_everything_still_there(
    open_bus: Open, topic: str, group: str
) -> None:
    bus = await open_bus()
    await bus.publish([fact(topic, 1), fact(topic, 2)])
    subscription = await bus.subscribe(group, [topic])
    await subscription.commit((await take(subscription, 2))[:1])
    await subscription.close()
    await bus.close()
    anew = await open_bus()
    resumed = await anew.subscribe(group, [topic])
    assert numbers(await take(resumed, 1)) == [2]
    await resumed.close()


async def test_where_a_group_stands_can_be_read_and_set(open_bus: Open, topic: str, group: str) -> None:
    bus = await open_bus()
    await bus.publish([fact(topic, number) for number in range(1, 6)])
    assert await bus.places(group, [topic]) == {}
    records = [record async for batch in bus.history([topic]) for record in batch]
    third = records[2]
    await bus.set_places(group, {(topic, third.partition): third.offset})
    assert await bus.places(group, [topic]) == {(topic, third.partition): third.offset}
    subscription = await bus.subscribe(group, [topic])
    assert numbers(await take(subscription, 3)) == [3, 4, 5]
    await subscription.commit(records)
    await subscription.close()
    assert await bus.places(group, [topic]) == {(topic, third.partition): records[-1].offset + 1}
