"""From a commit here to an effect there: outbox, relay, bus, inbox, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import select

from shared.bus import Outgoing
from shared.database import new_id, plain_url
from shared.events import GuarantorAdmitted
from shared.inbox import Consumer
from shared.outbox import Relay, row_of
from shared.plumbing import inbox, outbox
from tests.ground import Alone, Databases, alone, eventually, key
from tests.shared import toy
from tests.shared.toy import Heard


def admitted(name: str = "担保公司", guarantor: UUID | None = None) -> GuarantorAdmitted:
    return GuarantorAdmitted(
        business_date=date(2026, 3, 2),
        measures="2022-06-26",
        guarantor_id=guarantor or new_id(),
        name=name,
        effective_on=date(2026, 3, 2),
    )


def outgoing(event: GuarantorAdmitted) -> Outgoing:
    row = row_of(event, None)
    return Outgoing(
        row["topic"], row["key"], row["event_id"], row["type"], row["time"], None, row["data"].encode()
    )


async def rows(it: Alone, statement: Any) -> Sequence[Any]:
    async with it.running.database.reading() as session:
        return (await session.execute(statement)).all()


async def times(it: Alone, guarantor: UUID) -> int | None:
    async with it.running.database.reading() as session:
        found = await session.get(Heard, guarantor)
        return found.times if found else None


async def test_a_fact_is_heard_once_however_often_it_comes(it: Alone) -> None:
    event = admitted()
    for _ in range(3):
        await it.bus.publish([outgoing(event), outgoing(event)])
    await it.settle()
    assert await times(it, event.guarantor_id) == 1
    assert len(await rows(it, select(inbox))) == 1


async def test_a_whole_batch_is_taken_in_and_known_types_only(it: Alone) -> None:
    events = [admitted(f"n{n}") for n in range(1200)]
    stranger = Outgoing("kechuang.roster", "x", new_id(), "UnheardOf", events[0].occurred_at, None, b"{}")
    await it.bus.publish([*map(outgoing, events[:600]), stranger, *map(outgoing, events[600:])])
    await it.settle()
    assert len(await rows(it, select(Heard))) == 1200


async def test_poison_is_buried_and_its_neighbours_are_not_hurt(it: Alone) -> None:
    it.running.consumer.back_off_seconds = 0.001
    before, poison, after = admitted("before"), admitted("poison"), admitted("after")
    await it.hear(before, poison, after)
    assert await times(it, before.guarantor_id) == await times(it, after.guarantor_id) == 1
    assert await times(it, poison.guarantor_id) is None
    [letter] = await it.bus.dead_letters("kechuang.roster")
    assert letter.record.event_id == poison.event_id
    assert letter.attempts == 5
    assert "poison" in letter.error


async def test_a_buried_fact_sent_again_takes_effect_once_it_can(it: Alone) -> None:
    it.running.consumer.back_off_seconds = 0.001
    event = admitted("poison")
    await it.hear(event)
    [letter] = await it.bus.dead_letters("kechuang.roster")
    mended = admitted("mended", event.guarantor_id)
    again = Outgoing(
        letter.record.topic, letter.record.key, letter.record.event_id, letter.record.type,
        letter.record.time, None, mended.payload().encode(),
    )  # fmt: skip
    await it.bus.publish([again])
    await it.bus.clear_dead_letters("kechuang.roster", [letter])
    await it.settle()
    assert await times(it, event.guarantor_id) == 1


async def test_nothing_is_skipped_when_an_earlier_row_commits_late(it: Alone) -> None:
    late, early = admitted("late"), admitted("early")
    insert = "INSERT INTO outbox (event_id, topic, key, type, time, data) VALUES ($1, $2, $3, $4, $5, $6)"
    url = plain_url(it.running.database.url)
    slow, quick = await asyncpg.connect(url), await asyncpg.connect(url)
    transaction = slow.transaction()
    await transaction.start()

    def values(event: GuarantorAdmitted) -> list[Any]:
        row = row_of(event, None)
        return [row[name] for name in ("event_id", "topic", "key", "type", "time", "data")]

    await slow.execute(insert, *values(late))
    await quick.execute(insert, *values(early))

    async def early_heard() -> bool:
        return await times(it, early.guarantor_id) == 1

    await eventually(early_heard)
    await transaction.commit()

    async def late_heard() -> bool:
        return await times(it, late.guarantor_id) == 1

    await eventually(late_heard)
    await slow.close()
    await quick.close()


async def test_two_relays_publish_everything_once_in_order(
    databases: Databases, toy_permissions: None
) -> None:
    async with alone(databases, toy.SERVICE) as it:
        second = asyncio.create_task(Relay(it.running.database, it.bus, poll_seconds=0.05).run())
        guarantor = new_id()
        for n in range(50):
            async with it.running.database.transaction() as session:
                from shared.outbox import announce

                announce(session, admitted(f"n{n}", guarantor))
        await it.settle()
        told = [r async for batch in it.bus.history(["kechuang.roster"]) for r in batch]
        assert [record.event_id for record in told] == [
            row.event_id for row in await rows(it, select(outbox.c.event_id).order_by(outbox.c.seq))
        ]
        second.cancel()


async def test_everything_goes_on_after_all_connections_are_cut(it: Alone) -> None:
    office = it.client("office")
    await office.post("/v1/boxes", json={"name": "a", "phone": "1", "amount": "1.00"}, headers=key())
    await it.settle()
    for url in (it.running.database.url, it.bus.url):  # type: ignore[attr-defined]
        connection = await asyncpg.connect(plain_url(url))
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        await connection.close()
    made = await office.post("/v1/boxes", json={"name": "b", "phone": "1", "amount": "1.00"}, headers=key())
    assert made.status_code == 201
    assert (await office.get(f"/v1/heard/{made.json()['id']}")).status_code == 200


async def test_two_replicas_of_a_consumer_take_each_fact_once(it: Alone) -> None:
    sibling = Consumer(
        "roster", it.running.database, it.bus, it.running.service.hears, it.running.service.remembers
    )
    task = asyncio.create_task(sibling.run())
    events = [admitted(f"n{n}") for n in range(300)]
    for start in range(0, 300, 20):
        await it.bus.publish([outgoing(event) for event in events[start : start + 20]])
    await it.settle()
    counts = {row.times for row in await rows(it, select(Heard.__table__.c.times))}  # type: ignore[attr-defined]
    assert counts == {1}
    assert len(await rows(it, select(Heard))) == 300
    task.cancel()


async def test_a_question_waits_for_a_fact_that_is_still_on_its_way(it: Alone) -> None:
    event = admitted()
    asking = asyncio.create_task(it.client("office").get(f"/v1/heard/{event.guarantor_id}"))
    await asyncio.sleep(0)
    await it.bus.publish([outgoing(event)])
    assert (await asking).status_code == 200


async def test_a_question_about_what_nobody_ever_said_is_answered_404(it: Alone) -> None:
    assert (await it.client("office").get(f"/v1/heard/{new_id()}")).status_code == 404
