"""Ready means able, for real: PostgreSQL and Kafka go and come back, hang and go on, loops stick and come
loose; `/readyz` says so in time and turns green again by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.kafka.broker import Broker
from shared import readiness
from shared.bus import Outgoing, Place, Received
from shared.clock import SandboxClock
from shared.embedded_postgres import EmbeddedPostgres
from shared.events import ROSTER, TOPICS
from shared.inbox import Consumer, Reactions
from shared.kafka_bus import Connection, KafkaBus
from shared.readiness import NoAnswer, Probe
from shared.service import World, create_app
from shared.settings import Settings
from tests.ground import DAY, Alone, Databases, Issuer, alone, eventually, key
from tests.shared import toy

NEVER_LONGER = readiness.LIMIT_SECONDS + 1.5
"""The answer's limit, and what a busy machine adds."""


async def asked(client: httpx.AsyncClient) -> tuple[int, set[str]]:
    """The answer of /readyz: its status, and the parts at fault. It comes in time, whatever hangs."""
    began = time.monotonic()
    answer = await client.get("/readyz")
    assert time.monotonic() - began < NEVER_LONGER
    return answer.status_code, {fault.split(":")[0] for fault in answer.json()["faults"]}


def red(client: httpx.AsyncClient, *parts: str) -> Callable[[], Any]:
    async def is_red() -> bool:
        return await asked(client) == (503, set(parts))

    return is_red


def green(client: httpx.AsyncClient) -> Callable[[], Any]:
    async def is_green() -> bool:
        return await asked(client) == (200, set())

    return is_green


async def works(it: Alone) -> None:
    """A command goes through, its fact is published and heard, its audit row sealed."""
    office = it.client("office")
    box = {"name": f"box {uuid4()}", "phone": "1", "amount": "1.00"}
    made = await office.post("/v1/boxes", json=box, headers=key())
    assert made.status_code == 201, made.text

    async def heard() -> bool:
        return (await office.get(f"/v1/heard/{made.json()['id']}")).status_code == 200

    async def sealed() -> bool:
        waiting = await it.running.works.readiness.database.answer()
        return (waiting.unpublished, waiting.unsealed) == (0, 0)

    await eventually(heard, "the fact heard", 60)
    await eventually(sealed, "all published and sealed", 60)


@pytest.fixture
def own_postgres(data_folder: Path) -> Any:
    with EmbeddedPostgres(data_folder, durable=False) as server:
        yield server


async def test_postgresql_stopped_is_red_and_started_again_is_green_by_itself(
    own_postgres: EmbeddedPostgres, toy_permissions: None
) -> None:
    async with alone(Databases(own_postgres), toy.SERVICE) as it:
        client = it.client()
        await eventually(green(client))
        await works(it)
        own_postgres.stop()
        await eventually(red(client, "database", "bus"))
        assert (await client.get("/healthz")).status_code == 200

        async def sealer_failed() -> bool:
            return it.running.works.failures["sealer"] > 0

        await eventually(sealer_failed, "the sealer's failure")
        own_postgres.start()
        await eventually(green(client), "green again", 60)
        await works(it)


def hang(server: EmbeddedPostgres, how: signal.Signals) -> None:
    """Stop the server and every process of it where they are (or let them go on): connections stay, answers
    do not come."""
    assert server.pid is not None
    backends = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text("ascii").split()
    for pid in (server.pid, *map(int, backends)):
        with suppress(ProcessLookupError):
            os.kill(pid, how)


@pytest.mark.skipif(sys.platform != "linux", reason="a server's processes are found in /proc")
async def test_a_postgresql_that_hangs_is_red_in_time_and_green_when_it_goes_on(
    own_postgres: EmbeddedPostgres, toy_permissions: None
) -> None:
    async with alone(Databases(own_postgres), toy.SERVICE) as it:
        client = it.client()
        await eventually(green(client))
        hang(own_postgres, signal.SIGSTOP)
        try:
            for _ in range(3):
                status, parts = await asked(client)
                assert status == 503
                assert {"database", "bus"} <= parts
            began = time.monotonic()
            shown = (await it.running.metrics.exposition()).decode()
            assert time.monotonic() - began < NEVER_LONGER
            assert 'kechuang_ready{part="database",service="roster"} 0.0' in shown
            assert 'kechuang_outbox_unpublished{service="roster"}' not in shown
        finally:
            hang(own_postgres, signal.SIGCONT)
        await eventually(green(client), "green again", 60)
        await works(it)


# ── Kafka ────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def on_kafka(databases: Databases, broker: Broker) -> AsyncIterator[Alone]:
    """The toy on this broker."""
    clock, issuer = SandboxClock(DAY), Issuer()
    async with AsyncExitStack() as stack:
        url = await databases.fresh(toy.SERVICE, "roster")
        stack.push_async_callback(databases.drop, url)
        bus = KafkaBus(Connection(broker.servers, partitions=2), TOPICS)
        await bus.start()
        stack.push_async_callback(bus.close)
        settings = Settings.model_validate({"roster_database_url": url, "sandbox": True})
        app = create_app(toy.SERVICE, World(settings, clock, bus, issuer.fetch))
        await stack.enter_async_context(app.router.lifespan_context(app))
        it = Alone(app, app.state.running, bus, clock, issuer)
        yield it
        for client in it._clients:
            await client.aclose()


@pytest.mark.kafka
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["paused", "killed"])
async def test_a_broker_paused_or_killed_is_red_and_back_again_is_green_by_itself(
    databases: Databases, own_broker: Broker, toy_permissions: None, how: str
) -> None:
    async with on_kafka(databases, own_broker) as it:
        client = it.client()
        await eventually(green(client), "green", 60)
        await works(it)
        own_broker.pause() if how == "paused" else own_broker.kill()
        await eventually(red(client, "bus"), "red", 60)
        box = {"name": "meanwhile", "phone": "1", "amount": "1.00"}
        made = await it.client("office").post("/v1/boxes", json=box, headers=key())
        assert made.status_code == 201, "commands need no broker: their facts wait in the outbox"
        shown = (await it.running.metrics.exposition()).decode()
        assert 'kechuang_outbox_unpublished{service="roster"} 1.0' in shown
        assert "kechuang_consumer_lag{" not in shown, "nobody knows it now"
        own_broker.resume() if how == "paused" else own_broker.start()
        await eventually(green(client), "green again", 120)
        await works(it)
        shown = (await it.running.metrics.exposition()).decode()
        assert 'kechuang_consumer_lag{service="roster"} 0.0' in shown


# ── loops ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_relay_that_is_stuck_is_red_until_it_comes_loose(
    it: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "STUCK_SECONDS", 2.0)
    client, loose = it.client(), asyncio.Event()
    await eventually(green(client))
    publish = it.bus.publish

    async def hanging(records: Sequence[Outgoing]) -> None:
        await loose.wait()
        await publish(records)

    monkeypatch.setattr(it.bus, "publish", hanging)
    box = {"name": "a", "phone": "1", "amount": "1.00"}
    await it.client("office").post("/v1/boxes", json=box, headers=key())
    await eventually(red(client, "relay"))
    loose.set()
    await eventually(green(client))
    await works(it)


async def test_a_consumer_whose_reaction_hangs_is_red_until_it_goes_on(
    it: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "STUCK_SECONDS", 8.0)
    client, loose = it.client(), asyncio.Event()
    effect = it.running.consumer.effect

    async def hanging(records: Sequence[Received]) -> None:
        await loose.wait()
        await effect(records)

    monkeypatch.setattr(it.running.consumer, "effect", hanging)
    box = {"name": "a", "phone": "1", "amount": "1.00"}
    await it.client("office").post("/v1/boxes", json=box, headers=key())
    await eventually(red(client, "consumer"))
    loose.set()
    await eventually(green(client))
    await works(it)


class Deaf:
    """A subscription that brings nothing although records wait, whichever is made anew."""

    made = 0

    async def poll(self, limit: int, wait_seconds: float) -> list[Received]:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        return []

    async def commit(self, records: Sequence[Received]) -> None: ...

    async def rewind(self) -> None: ...

    async def place(self) -> Place:
        return Place(0, 7)

    async def close(self) -> None: ...


class DeafBus:
    async def subscribe(self, group: str, topics: Sequence[str]) -> Deaf:
        Deaf.made += 1
        return Deaf()


async def test_a_consumer_that_nothing_reaches_begins_anew_and_is_seen_as_stuck_all_the_same(
    it: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "STUCK_SECONDS", 1.0)
    none: Reactions = {}
    bus: Any = DeafBus()
    consumer = Consumer("deaf", it.running.database, bus, (ROSTER,), none)
    consumer.look_after /= 20
    looked = readiness.Readiness(it.running.database, it.bus, {"consumer": consumer})
    task = asyncio.create_task(consumer.run())

    async def stuck() -> bool:
        return Deaf.made > 2 and "consumer" in (await looked.look())[0]

    await eventually(stuck)
    task.cancel()
    looked.close()


@pytest.mark.parametrize("how", [OSError("broken on purpose"), asyncio.CancelledError()])
async def test_a_background_task_that_ends_begins_anew_and_is_counted(it: Alone, how: BaseException) -> None:
    """Also one that a library cancelled from within: nobody asked for its end."""
    from shared.service import _keep_running

    runs = 0

    async def breaks_once() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise how
        await asyncio.Event().wait()

    failures = it.running.works.failures
    before = failures["breaking"]
    task = asyncio.create_task(_keep_running("breaking", breaks_once, failures))

    async def again() -> bool:
        return runs == 2

    await eventually(again)
    task.cancel()
    assert failures["breaking"] == before + 1
    shown = (await it.running.metrics.exposition()).decode()
    assert f'kechuang_background_failures_total{{service="roster",task="breaking"}} {before + 1}.0' in shown


# ── the probe ────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_that_hangs_is_not_asked_twice_at_a_time_and_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "LIMIT_SECONDS", 0.05)
    asking = most = asked_times = 0

    async def hangs() -> None:
        nonlocal asking, most, asked_times
        asking, asked_times = asking + 1, asked_times + 1
        most = max(most, asking)
        try:
            await asyncio.Event().wait()
        finally:
            asking -= 1

    probe = Probe(hangs)
    answers = await asyncio.gather(*(probe.answer() for _ in range(5)), return_exceptions=True)
    answers += await asyncio.gather(probe.answer(), return_exceptions=True)
    assert {type(answer) for answer in answers} == {NoAnswer}
    assert (most, asked_times) == (1, 2)


async def test_what_cannot_even_be_given_up_does_not_hold_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "LIMIT_SECONDS", 0.05)
    end = asyncio.Event()

    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await end.wait()
        return 7

    probe = Probe(stubborn)
    for _ in range(3):
        with pytest.raises(NoAnswer):
            await probe.answer()
    end.set()

    async def free() -> bool:
        try:
            return await probe.answer() == 7
        except NoAnswer:
            return True

    assert await free()
