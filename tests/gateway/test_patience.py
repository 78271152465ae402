"""A caller that sends without end, or falls silent, does not hold what others need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from fastapi import FastAPI, Request

from services import patience
from services.run import _server
from shared.settings import Settings
from tests.ground import eventually

GET = b"GET /size HTTP/1.1\r\nhost: x\r\n"
POST = b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"


def sizes() -> FastAPI:
    """Answers with how many bytes came; `gone` when the caller left in between."""
    app = FastAPI()
    app.state.gone = asyncio.Event()

    @app.api_route("/size", methods=["GET", "POST"])
    async def size(request: Request) -> int:
        try:
            return len(await request.body())
        except Exception:
            app.state.gone.set()
            raise

    return app


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[tuple[str, int]]:
    """The app as an installation serves it; host and port."""
    server: uvicorn.Server = _server(Settings(port=0), app)
    task = asyncio.create_task(server._serve())

    async def started() -> bool:
        return server.started or task.done()

    await eventually(started, "the server")
    try:
        host, port = server.servers[0].sockets[0].getsockname()
        yield host, port
    finally:
        server.should_exit = True
        await task


async def said(at: tuple[str, int], *pieces: bytes) -> bytes:
    """All that is answered to these pieces until the connection ends."""
    reader, writer = await asyncio.open_connection(*at)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


async def test_a_head_up_to_the_limit_is_taken_and_one_above_is_431() -> None:
    filled = b"x-filler: " + b"a" * (patience.HEAD_BYTES - 100) + b"\r\n"
    async with serving(sizes()) as at:
        assert (await said(at, GET, filled, b"connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        for more in (b"x-more: " + b"a" * 200 + b"\r\n", b"x: a\r\n" * 40):
            assert (await said(at, GET + filled + more + b"\r\n")).startswith(b"HTTP/1.1 431 ")


async def test_a_head_without_end_is_431_before_it_fills_the_memory() -> None:
    async with serving(sizes()) as at:
        reader, writer = await asyncio.open_connection(*at)
        writer.write(GET + b"x-endless: ")
        sent = 0
        while not reader.at_eof() and sent < 64 * patience.HEAD_BYTES:
            try:
                writer.write(b"a" * 16_384)
                await writer.drain()
            except ConnectionError:
                break
            sent += 16_384
        writer.transport.abort()
        assert sent < 64 * patience.HEAD_BYTES


@pytest.mark.parametrize("begun", [b"", GET, POST, POST + b"12345"])
async def test_who_falls_silent_in_the_middle_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.05)
    app = sizes()
    async with serving(app) as at:
        assert await said(at, begun) == b""
        if begun.startswith(b"POST"):
            await asyncio.wait_for(app.state.gone.wait(), 10)


async def test_our_own_slowness_is_not_the_caller_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long an answer takes, its caller is not the one who is waited for."""
    monkeypatch.setattr(patience, "SECONDS", 0.02)
    looks: list[int] = []
    look = patience.Patience._look

    def counted(connection: patience.Patience) -> None:
        look(connection)
        looks.append(1)

    monkeypatch.setattr(patience.Patience, "_look", counted)
    app = FastAPI()

    @app.get("/slow")
    async def slow() -> str:
        async def looked_often() -> bool:
            return len(looks) > 3

        await eventually(looked_often, "several looks at the silent caller")
        return "at last"

    async with serving(app) as at:
        answer = await said(at, b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.endswith(b'"at last"')
