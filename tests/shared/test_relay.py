"""The relay over several batches: one is on its way while the last is marked and the next is taken."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest

from shared import outbox
from shared.bus import Outgoing
from shared.database import Database, plain_url
from shared.outbox import Relay
from tests.ground import Databases, eventually
from tests.shared import toy

ROWS = 1_700
FILL = """
    INSERT INTO outbox (event_id, topic, key, type, time, data)
    SELECT uuidv7(), 'kechuang.roster', 'key-' || n % 7, 'Numbered', now(), n::text
    FROM generate_series($1::int, $2::int) AS n
"""


class Log:
    """A bus that keeps what it was given, and can fail once in the middle of a batch."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.records: list[int] = []
        self.keys: dict[str, list[int]] = defaultdict(list)
        self.batches = 0
        self.under_way = 0
        self.fail_at = fail_at

    async def publish(self, records: Sequence[Outgoing]) -> None:
        self.under_way += 1
        assert self.under_way == 1, "a batch is sent only when the bus has the one before"
        self.batches += 1
        try:
            for record in records:
                await asyncio.sleep(0)
                if len(self.records) == self.fail_at:
                    self.fail_at = None
                    raise OSError("the broker is away")
                self.records.append(int(record.data))
                if int(record.data) not in self.keys[record.key]:
                    self.keys[record.key].append(int(record.data))
        finally:
            self.under_way -= 1


@asynccontextmanager
async def relayed(databases: Databases, bus: Log) -> AsyncIterator[tuple[Relay, asyncpg.Connection]]:
    """A relay at work on an outbox of ROWS rows."""
    url = await databases.fresh(toy.SERVICE, "roster")
    connection = await asyncpg.connect(plain_url(url))
    await connection.execute(FILL, 1, ROWS)
    database = Database(url, pool=1)
    relay = Relay(database, bus, poll_seconds=0.02)  # type: ignore[arg-type]
    work = asyncio.create_task(relay.run())
    try:
        yield relay, connection
    finally:
        work.cancel()
        await asyncio.wait([work])
        await connection.close()
        await database.close()
        await databases.drop(url)


async def unmarked(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"))


async def all_marked(connection: asyncpg.Connection) -> None:
    async def none_left() -> bool:
        return await unmarked(connection) == 0

    await eventually(none_left, "every row marked")


async def counted(relay: Relay) -> bool:
    return relay.published == ROWS


async def test_every_row_is_sent_once_in_order_and_marked(databases: Databases) -> None:
    bus = Log()
    async with relayed(databases, bus) as (relay, connection):
        await eventually(lambda: counted(relay), "the count")
        await all_marked(connection)
        assert bus.records == list(range(1, ROWS + 1))
        assert bus.batches == 4
        await connection.execute(FILL, ROWS + 1, ROWS + 1)
        await all_marked(connection)
        assert bus.records[-1] == ROWS + 1


@pytest.mark.parametrize("fail_at", [0, 499, 500, 750, 1_600])
async def test_a_bus_that_fails_in_the_middle_gets_the_rest_and_each_key_in_order(
    databases: Databases, fail_at: int
) -> None:
    bus = Log(fail_at)
    async with relayed(databases, bus) as (_, connection):
        await all_marked(connection)
    assert set(bus.records) == set(range(1, ROWS + 1))
    assert all(numbers == sorted(numbers) for numbers in bus.keys.values()), "by when each came first"
    again = len(bus.records) - ROWS
    assert again <= 2 * outbox.BATCH


async def test_a_row_that_was_committed_late_is_not_jumped_over(databases: Databases) -> None:
    bus = Log()
    url = await databases.fresh(toy.SERVICE, "roster")
    late, connection = [await asyncpg.connect(plain_url(url)) for _ in range(2)]
    database = Database(url, pool=1)
    transaction = late.transaction()
    await transaction.start()
    await late.execute(FILL, 1, 1)
    await connection.execute(FILL, 2, ROWS)
    work = asyncio.create_task(Relay(database, bus, poll_seconds=0.02).run())  # type: ignore[arg-type]
    try:
        await all_marked(connection)
        await transaction.commit()
        await all_marked(connection)
        assert sorted(bus.records) == list(range(1, ROWS + 1))
        assert bus.records[-1] == 1
    finally:
        work.cancel()
        await asyncio.wait([work])
        await late.close()
        await connection.close()
        await database.close()
        await databases.drop(url)
