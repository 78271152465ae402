"""What a service tells Prometheus: requests by operation, what waits, what moves; on a port of its own."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from services.run import metrics_served
from shared import readiness
from shared.database import plain_url
from shared.metrics import Metrics
from shared.settings import Settings
from tests.ground import DAY, Alone, eventually, key
from tests.shared.test_delivery import admitted

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]
BOX = {"name": "a", "phone": "1", "amount": "1.00"}


async def figures(metrics: Metrics) -> Figures:
    """Everything shown, as Prometheus itself reads it: (name, labels but for `service`) → value."""
    shown = (await metrics.exposition()).decode()
    return {
        (sample.name, frozenset(item for item in sample.labels.items() if item[0] != "service")): sample.value
        for family in text_string_to_metric_families(shown)
        for sample in family.samples
    }


async def figure(it: Alone, name: str, **labels: str) -> float | None:
    return (await figures(it.running.metrics)).get((f"kechuang_{name}", frozenset(labels.items())))


async def test_requests_are_counted_by_operation_method_and_class_of_status(it: Alone) -> None:
    office, nobody = it.client("office"), it.client()
    for headers in (key(), key()):
        await office.post("/v1/boxes", json=BOX, headers=headers)
    await nobody.post("/v1/boxes", json=BOX)
    await office.post("/v1/boxes", json={"name": 1})
    await office.get("/v1/nowhere")
    await office.request("BREW", "/v1/boxes")
    for probe in ("/healthz", "/readyz"):
        await nobody.get(probe)
    counts = {
        tuple(dict(labels)[name] for name in ("operation", "method", "status")): value
        for (name, labels), value in (await figures(it.running.metrics)).items()
        if name == "kechuang_request_duration_seconds_count"
    }
    assert counts == {
        ("make_box", "POST", "2xx"): 1,
        ("make_box", "POST", "4xx"): 3,
        ("none", "GET", "4xx"): 1,
        ("make_box", "other", "4xx"): 1,
    }


async def test_a_request_that_broke_is_an_error_of_its_operation(
    it: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("shared.database._close", broken)
    answer = await it.client("office").post("/v1/boxes", json=BOX, headers=key())
    assert answer.status_code == 500
    labels = {"operation": "make_box", "method": "POST", "status": "5xx"}
    assert await figure(it, "request_duration_seconds_count", **labels) == 1


async def test_commands_that_lost_a_race_are_counted(it: Alone) -> None:
    clients = [it.client("office") for _ in range(4)]
    await asyncio.gather(*(c.post("/v1/boxes", json=BOX, headers=key()) for c in clients))
    reruns = await figure(it, "command_reruns_total", operation="make_box")
    assert reruns is not None
    assert reruns >= 1


async def test_what_waits_to_be_published_is_told_with_the_age_of_the_first(
    it: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await figure(it, "outbox_unpublished") == 0
    assert await figure(it, "outbox_oldest_seconds") == 0

    async def hanging(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(it.bus, "publish", hanging)
    await it.client("office").post("/v1/boxes", json=BOX, headers=key())
    async with it.running.database.transaction() as session:
        await session.execute(text("UPDATE outbox SET recorded_at = now() - interval '90 seconds'"))
    assert await figure(it, "outbox_unpublished") == 1
    assert 89 < (await figure(it, "outbox_oldest_seconds") or 0) < 120


async def test_what_was_published_and_taken_in_is_counted_and_nothing_lags(it: Alone) -> None:
    await it.client("office").post("/v1/boxes", json=BOX, headers=key())
    await it.settle()
    assert await figure(it, "outbox_published_total") == 1
    assert await figure(it, "consumer_taken_total") == 1
    assert await figure(it, "consumer_lag") == 0
    assert await figure(it, "consumer_buried_total") == 0
    assert await figure(it, "ready", part="consumer") == 1


async def test_poison_is_seen_as_a_failed_batch_and_a_buried_record(it: Alone) -> None:
    it.running.consumer.back_off_seconds = 0.001
    await it.hear(admitted("before"), admitted("poison"))
    assert await figure(it, "consumer_failed_batches_total") == 1
    assert await figure(it, "consumer_buried_total") == 1
    assert await figure(it, "consumer_taken_total") == 2


async def test_records_that_wait_are_the_lag(it: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    held = asyncio.Event()
    effect = it.running.consumer.effect

    async def hanging(records: Any) -> None:
        await held.wait()
        await effect(records)

    monkeypatch.setattr(it.running.consumer, "effect", hanging)
    for name in "abc":
        await it.client("office").post("/v1/boxes", json=BOX | {"name": name}, headers=key())

    async def lags() -> bool:
        return await figure(it, "consumer_lag") == 3

    await eventually(lags)
    held.set()

    async def caught_up() -> bool:
        return await figure(it, "consumer_lag") == 0

    await eventually(caught_up)


async def test_audit_rows_are_told_until_they_are_sealed(it: Alone) -> None:
    connection = await asyncpg.connect(plain_url(it.running.database.url))
    alone = connection.transaction()
    await alone.start()
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('kechuang.sealer'))")
    await it.client("office").post("/v1/boxes", json=BOX, headers=key())
    assert await figure(it, "audit_unsealed") == 1
    assert 0 < (await figure(it, "audit_oldest_seconds") or 0) < 60
    await alone.rollback()
    await connection.close()

    async def sealed() -> bool:
        return await figure(it, "audit_unsealed") == 0 and await figure(it, "audit_oldest_seconds") == 0

    await eventually(sealed)


async def test_the_business_day_is_told(it: Alone) -> None:
    assert await figure(it, "business_day_done") == int(DAY.strftime("%Y%m%d"))
    assert await figure(it, "business_days_behind") == 0


async def test_connections_at_work_are_told(it: Alone) -> None:
    assert await figure(it, "database_pool_size") == it.running.settings.database_pool
    async with it.running.database.reading() as session:
        before = await figure(it, "database_pool_in_use") or 0
        await session.execute(text("SELECT 1"))
        assert (await figure(it, "database_pool_in_use") or 0) >= before + 1


async def test_a_scrape_needs_no_connection_of_the_pool(it: Alone) -> None:
    """With every connection of the pool at work a scrape still sees what waits, and the service is ready."""
    sessions = []
    for _ in range(it.running.settings.database_pool):
        session = it.running.database.reading()
        await (await session.__aenter__()).execute(text("SELECT 1"))
        sessions.append(session)
    began = time.monotonic()
    assert await figure(it, "outbox_unpublished") == 0
    assert await figure(it, "ready", part="database") == 1
    assert time.monotonic() - began < readiness.LIMIT_SECONDS
    for session in sessions:
        await session.__aexit__(None, None, None)


async def test_the_question_a_scrape_asks_goes_by_the_indexes(it: Alone) -> None:
    """However long the tables grow, only what waits is read."""
    many = (
        "INSERT INTO outbox (event_id, topic, key, type, time, data, published_at) "
        "SELECT uuidv7(), 't', 'k', 'T', now(), '{}', now() FROM generate_series(1, 20000)",
        'INSERT INTO audit (entry, refs, seal_no, seal) SELECT \'{"at":"","operation":""}\', \'{}\', n, \'\' '
        "FROM generate_series(1000000, 1020000) n",
        "ANALYZE outbox",
        "ANALYZE audit",
    )
    connection = await asyncpg.connect(plain_url(it.running.database.url))
    for statement in many:
        await connection.execute(statement)
    plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN " + readiness.WAITING))
    await connection.close()
    assert "Seq Scan" not in plan, plan
    assert plan.count("outbox_unpublished") == plan.count("audit_unsealed") == 2, plan


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_metrics_are_served_on_a_port_of_their_own_and_nowhere_else(it: Alone) -> None:
    assert (await it.client("office").get("/metrics")).status_code == 404
    port = unused_port()
    settings = Settings(metrics_port=port)
    async with metrics_served(settings, it.running.metrics), httpx.AsyncClient() as client:
        address = f"http://127.0.0.1:{port}"
        answer = await client.get(f"{address}/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "kechuang_ready{" in answer.text
        assert (await client.get(f"{address}/v1/boxes")).status_code == 404
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{address}/metrics")


async def test_without_a_port_nothing_is_served(it: Alone) -> None:
    before = len(asyncio.all_tasks())
    async with metrics_served(Settings(), it.running.metrics):
        assert len(asyncio.all_tasks()) == before
