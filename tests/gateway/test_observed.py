"""What is seen of the gateway from outside and inside: ready on its own, measured by operation, no way to
anybody's metrics."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI

from services.gateway.remote import Remote
from services.gateway.upstreams import InProcess
from shared import readiness
from tests.gateway.gate import Gate, gate, made_up_service, served
from tests.gateway.test_remote import raw_service
from tests.ground import Databases


async def ready(it: Gate) -> tuple[int, dict[str, Any]]:
    """The answer of /readyz; it comes in time, whoever hangs."""
    began = time.monotonic()
    answer = await it.client().get("/readyz")
    assert time.monotonic() - began < readiness.LIMIT_SECONDS + 1.5
    return answer.status_code, answer.json()


async def test_the_gateway_is_ready_on_its_own_and_says_which_service_is_away(databases: Databases) -> None:
    async with served(made_up_service("roster")) as roster:
        before = {"roster": Remote(roster), "lending": Remote("http://127.0.0.1:9")}
        async with gate(databases, before) as it:
            status, told = await ready(it)
            assert (status, told["status"], told["faults"]) == (200, "ready", [])
            assert told["upstreams"] == {"roster": "ready", "lending": "away"}


async def test_a_service_that_is_not_ready_does_not_make_the_gateway_so(databases: Databases) -> None:
    lending = FastAPI()
    answer: dict[str, Any] = {"status": "unready", "day": None, "faults": ["bus: NoAnswer"]}
    lending.add_api_route("/readyz", lambda: answer, include_in_schema=False)
    async with gate(databases, {"lending": InProcess(lending)}) as it:
        status, told = await ready(it)
        assert (status, told["upstreams"]) == (200, {"lending": "unready"})
        answer["status"] = "ready"
        assert (await ready(it))[1]["upstreams"] == {"lending": "ready"}


async def test_a_service_that_hangs_does_not_hold_the_gateway_s_answer(databases: Databases) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_service(silent) as lending, gate(databases, {"lending": Remote(lending)}) as it:
        for _ in range(2):
            status, told = await ready(it)
            assert (status, told["upstreams"]) == (200, {"lending": "away"})


async def counts(it: Gate) -> dict[str, int]:
    """How many requests ended how: `operation status` → number."""
    shown = (await it.running.metrics.exposition()).decode()
    lines = (
        line.removeprefix("kechuang_request_duration_seconds_count{").split("} ")
        for line in shown.splitlines()
        if line.startswith("kechuang_request_duration_seconds_count{")
    )
    found: Counter[str] = Counter()
    for labels, value in lines:
        by_name = dict(part.split("=") for part in labels.replace('"', "").split(","))
        found[f"{by_name['operation']} {by_name['status']}"] += int(float(value))
    return found


async def test_requests_passed_on_are_counted_by_the_operation_that_serves_them(it: Gate) -> None:
    client = it.client()
    await client.get("/v1/lending/7")
    await client.get("/v1/lending/8?q=x")
    await client.get("/v1/lending/broken")
    await client.delete("/v1/lending/7")
    await client.get("/v1/me")
    await client.get("/v1/nowhere")
    for probe in ("/healthz", "/readyz"):
        await client.get(probe)
    assert await counts(it) == {
        "get_lending 2xx": 2,
        "break_lending 5xx": 1,
        "get_me 4xx": 1,
        "none 4xx": 2,
    }


async def test_requests_to_a_service_that_went_are_errors_of_their_operation(databases: Databases) -> None:
    async with gate(databases, {"lending": Remote("http://127.0.0.1:9")}) as it:
        surface = it.app.state.surface
        lending: FastAPI = made_up_service("lending")

        async def openapi() -> dict[str, Any]:
            return lending.openapi()

        surface.upstreams["lending"].openapi = openapi
        await surface.refresh()
        assert (await it.client().get("/v1/lending/7")).status_code == 503
        assert await counts(it) == {"get_lending 5xx": 1}


@pytest.fixture
async def before_one_that_shows(databases: Databases) -> AsyncIterator[Gate]:
    """A gateway before a service that would show its metrics to whoever reaches it."""
    lending = made_up_service("lending")
    lending.add_api_route("/metrics", lambda: "kechuang_ready 1", include_in_schema=False)
    async with served(lending) as address, gate(databases, {"lending": Remote(address)}) as it:
        yield it


OUTSIDE = ("/metrics", "/metrics/", "//metrics", "/v1/../metrics", "/v1/lending/../../metrics", "/v1/metrics")


@pytest.mark.parametrize("path", OUTSIDE)
async def test_nobody_outside_reaches_anybody_s_metrics(before_one_that_shows: Gate, path: str) -> None:
    async with served(before_one_that_shows.app) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rsplit(":", 1)[1]))
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
    assert "kechuang_" not in answer
    assert answer.split()[1] == "404"


async def test_the_answer_tells_the_request_id_that_the_service_was_given(it: Gate) -> None:
    for sent, kept in (("the-caller-s-own", True), ("short", False), (None, False)):
        headers = {"x-request-id": sent} if sent else {}
        answer = await it.client().get("/v1/lending/7", headers=headers)
        assert answer.headers["x-request-id"] == answer.json()["headers"]["x-request-id"]
        assert (answer.headers["x-request-id"] == sent) is kept
