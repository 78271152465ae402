"""Services over real HTTP: streaming both ways, and what happens when one is away, slow or cut off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import sha256

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from services.gateway import edge
from services.gateway.pool import Limits
from services.gateway.remote import Remote
from tests.gateway.gate import Gate, gate, made_up_service, served
from tests.ground import Databases, eventually

OPENAPI = {"openapi": "3.1.0", "info": {"title": "x", "version": "1"}}
PATHS = {"/v1/raw": {m: {"operationId": f"{m}_raw", "responses": {}} for m in ("get", "post")}}


@asynccontextmanager
async def over_http(databases: Databases, lending: FastAPI) -> AsyncIterator[tuple[Gate, httpx.AsyncClient]]:
    """caller —HTTP→ gateway —HTTP→ lending."""
    async with AsyncExitStack() as stack:
        behind = await stack.enter_async_context(served(lending))
        it = await stack.enter_async_context(gate(databases, {"lending": Remote(behind)}))
        before = await stack.enter_async_context(served(it.app))
        token = {"authorization": "Bearer a.b.c"}
        client = httpx.AsyncClient(base_url=before, headers=token, timeout=20, trust_env=False)
        yield it, await stack.enter_async_context(client)


@asynccontextmanager
async def raw_service(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object],
) -> AsyncIterator[str]:
    """A server that tells its document properly, and answers anything else as `answer` does."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /openapi.json"):
                body = json.dumps(OPENAPI | {"paths": PATHS}).encode()
                size = str(len(body)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-length: " + size + b"\r\nconnection: close\r\n\r\n" + body
                )
            else:
                result = answer(reader, writer)
                if asyncio.iscoroutine(result):
                    await result
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def test_a_request_and_its_answer_pass_over_http_without_the_headers_of_one_connection(
    databases: Databases,
) -> None:
    async with over_http(databases, made_up_service("lending")) as (_, client):
        headers = {
            "authorization": "Bearer a.b.c",
            "te": "trailers",
            "connection": "keep-alive, x-mine-alone",
            "x-mine-alone": "1",
            "x-for-all": "2",
        }
        answer = await client.get("/v1/lending/%E8%B4%B7?q=a%26b", headers=headers)
        assert answer.status_code == 200
        seen = answer.json()
        assert (seen["thing"], seen["q"]) == ("贷", "a&b")
        assert seen["headers"]["authorization"] == "Bearer a.b.c"
        assert seen["headers"]["x-for-all"] == "2"
        assert not {"te", "x-mine-alone"} & seen["headers"].keys()
        assert seen["headers"]["x-request-id"] == answer.headers["x-request-id"]
        assert len(answer.headers.get_list("date")) == 1
        made = await client.post("/v1/lending", json={"a": 1})
        assert (made.status_code, made.json()["body"]) == (201, {"a": 1})


async def test_pieces_come_back_while_others_are_still_to_be_sent(databases: Databases) -> None:
    """An upload is passed on and its answer returned piece by piece: nothing is held until the end."""
    echoed: asyncio.Queue[bytes] = asyncio.Queue()

    async def one_after_the_other() -> AsyncIterator[bytes]:
        for number in range(5):
            yield f"piece {number};".encode()
            if number < 4:
                # The next piece is sent only when this one was echoed by the service.
                assert await asyncio.wait_for(echoed.get(), 10) == f"piece {number};".encode()

    lending = FastAPI()

    @lending.put("/v1/lending/echo", operation_id="echo")
    async def echo(request: Request) -> dict[str, int]:
        size = 0
        async for piece in request.stream():
            if piece:
                size += len(piece)
                echoed.put_nowait(piece)
        return {"size": size}

    async with over_http(databases, lending) as (_, client):
        answer = await client.put("/v1/lending/echo", content=one_after_the_other())
        assert answer.json() == {"size": 40}


async def test_a_large_upload_and_download_pass_whole(databases: Databases) -> None:
    sent = bytes(range(256)) * 4096 * 8

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(sent), 100_000):
            yield sent[at : at + 100_000]

    async with over_http(databases, made_up_service("lending")) as (_, client):
        for content in (sent, pieces()):
            answer = await client.put("/v1/lending/upload", content=content)
            assert sha256(answer.content).digest() == sha256(sent).digest()


async def test_a_body_that_grows_past_the_limit_is_413_and_the_next_request_works(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "LIMIT_BYTES", 300_000)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield bytes(100_000)

    async with over_http(databases, made_up_service("lending")) as (_, client):
        for content in (bytes(400_000), pieces()):
            headers = {"content-type": "application/json", "accept-language": "en"}
            answer = await client.post("/v1/lending", content=content, headers=headers)
            assert answer.status_code == 413
            assert answer.json()["title"] == "Too large"
        assert (await client.get("/v1/lending/7")).status_code == 200


async def test_a_stream_without_end_ends_behind_when_the_caller_goes_away(databases: Databases) -> None:
    ended = asyncio.Event()
    lending = FastAPI()

    @lending.get("/v1/lending/stream", operation_id="stream")
    async def stream() -> StreamingResponse:
        async def events() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"data: still here\n\n"
                    await asyncio.sleep(0)
            finally:
                ended.set()

        return StreamingResponse(events(), media_type="text/event-stream")

    async with over_http(databases, lending) as (_, client):
        async with client.stream("GET", "/v1/lending/stream") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for piece in answer.aiter_bytes():
                assert piece.startswith(b"data: still here")
                break
        await asyncio.wait_for(ended.wait(), 10)


@pytest.mark.parametrize(("language", "title"), [("zh", "暂时不能服务"), ("en", "Temporarily unavailable")])
async def test_a_service_that_is_away_is_a_problem_that_says_nothing_changed(
    databases: Databases, language: str, title: str
) -> None:
    async with served(made_up_service("lending")) as address:
        remote = Remote(address)
        running = gate(databases, {"lending": remote})
        it = await running.__aenter__()
    try:
        for method, path in (("GET", "/v1/lending/7"), ("POST", "/v1/lending")):
            answer = await it.client(language=language).request(
                method, path, json={} if method == "POST" else None
            )
            assert answer.status_code == 503
            assert answer.json()["title"] == title
            assert answer.headers["retry-after"] == "2"
        assert (await remote.ready())["status"] == "away"
    finally:
        await running.__aexit__(None, None, None)


async def test_a_question_that_meets_a_broken_connection_is_asked_once_more_and_a_command_never(
    databases: Databases,
) -> None:
    asked = 0

    def breaks_first(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")

    async with raw_service(breaks_first) as address, gate(databases, {"lending": Remote(address)}) as it:
        answer = await it.client().get("/v1/raw")
        assert (answer.status_code, answer.text, asked) == (200, "ok", 2)
        asked = 0
        broken = await it.client().post("/v1/raw", json={})
        assert (broken.status_code, asked) == (503, 1)
        assert "open" in broken.json()["detail"]


async def test_two_broken_connections_in_a_row_are_told(databases: Databases) -> None:
    asked = []
    async with (
        raw_service(lambda *_: asked.append(1)) as address,
        gate(databases, {"lending": Remote(address)}) as it,
    ):
        assert (await it.client().get("/v1/raw")).status_code == 503
        assert len(asked) == 2


async def test_an_answer_that_does_not_come_in_time_is_504_and_never_asked_again(
    databases: Databases,
) -> None:
    asked = []
    enough = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        asked.append(1)
        await enough.wait()

    async with (
        raw_service(silent) as address,
        gate(databases, {"lending": Remote(address, Limits(answer=0.1))}) as it,
    ):
        for method in ("GET", "POST"):
            answer = await it.client().request(method, "/v1/raw")
            assert answer.status_code == 504
            assert answer.json()["type"] == "/problems/no-answer-in-time"
        assert len(asked) == 2
        enough.set()


async def test_an_answer_cut_off_in_the_middle_is_cut_off_for_the_caller_too(databases: Databases) -> None:
    def half(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n[1,\r\n")

    async with (
        raw_service(half) as address,
        gate(databases, {"lending": Remote(address)}) as it,
        served(it.app) as before,
        httpx.AsyncClient(base_url=before, trust_env=False) as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/v1/raw")


async def test_documents_are_read_over_http_and_bad_ones_leave_the_last_good(databases: Databases) -> None:
    lending = made_up_service("lending")
    async with over_http(databases, lending) as (it, client):
        assert "/v1/lending/{thing}" in (await client.get("/openapi.json")).json()["paths"]
        lending.openapi_url = "/elsewhere.json"
        lending.routes[:] = [r for r in lending.routes if getattr(r, "path", "") != "/openapi.json"]
        await it.app.state.surface.refresh()
        assert (await client.get("/v1/lending/7")).status_code == 200

        async def still() -> bool:
            return "/v1/lending/{thing}" in (await client.get("/openapi.json")).json()["paths"]

        await eventually(still, "the last good document", 1)
