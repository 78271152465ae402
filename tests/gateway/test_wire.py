"""Connections to the services behind: used again, held back, and never trusted beyond one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from services.gateway.exchange import Exchange
from services.gateway.pool import AllInUse, Limits, Pool
from services.gateway.wire import HIGH_WATER, Broken
from tests.ground import eventually

GET = b"GET / HTTP/1.1\r\nhost: behind\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Kept: Yes\r\n\r\nok"
Speaks = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def behind(speaks: Speaks, limits: Limits | None = None) -> AsyncIterator[tuple[Pool, list[int]]]:
    """A pool before a server that answers each request as `speaks` does; and its connections so far."""
    connections: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await speaks(reader, writer)
                await writer.drain()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    pool = Pool(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", limits or Limits())
    try:
        yield pool, connections
    finally:
        pool.close()
        for writer in writers:
            writer.transport.abort()
        server.close()
        await server.wait_closed()


async def fetch(pool: Pool, head: bytes = GET, body: AsyncIterator[bytes] | None = None) -> tuple[int, bytes]:
    exchange = Exchange(pool, await pool.take(), 5)
    try:
        status, _ = await exchange.ask(head, body, chunked=body is not None)
        return status, await exchange.whole()
    finally:
        exchange.end()


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def says(answer: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(answer)


async def test_a_connection_is_used_again() -> None:
    async with behind(lambda _, w: says(OK, w)) as (pool, connections):
        for _ in range(5):
            assert await fetch(pool) == (200, b"ok")
        assert len(connections) == 1


async def test_one_that_was_idle_too_long_is_not() -> None:
    async with behind(lambda _, w: says(OK, w), Limits(idle=0.0)) as (pool, connections):
        for _ in range(3):
            assert await fetch(pool) == (200, b"ok")
        assert len(connections) == 3


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (OK + OK, b"ok"),
        (OK + b"HTTP/1.1 500 unasked", b"ok"),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    ],
)
async def test_one_that_closes_or_says_more_than_it_was_asked_is_not(answer: bytes, whole: bytes) -> None:
    async with behind(lambda _, w: says(answer, w)) as (pool, connections):
        for _ in range(2):
            assert await fetch(pool) == (200, whole)
        assert len(connections) == 2


@pytest.mark.parametrize(
    ("answer", "status", "whole"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n", 200, b"ok!"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", 304, b""),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, b""),
    ],
)
async def test_answers_of_every_form_are_taken_whole(answer: bytes, status: int, whole: bytes) -> None:
    async with behind(lambda _, w: says(answer, w)) as (pool, connections):
        for _ in range(2):
            assert await fetch(pool) == (status, whole)
        assert len(connections) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"this is not HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_not_http_breaks_the_connection(answer: bytes) -> None:
    async with behind(lambda _, w: says(answer, w)) as (pool, connections):
        for _ in range(2):
            with pytest.raises(Broken):
                await fetch(pool)
        assert len(connections) == 2


async def test_a_closed_connection_breaks_before_the_head_and_in_the_body() -> None:
    async def closes(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok")
        writer.close()

    for speaks in (closes, half):
        async with behind(speaks) as (pool, _):
            with pytest.raises(Broken):
                await fetch(pool)


async def test_header_names_come_in_lower_case_and_values_as_they_are() -> None:
    async with behind(lambda _, w: says(OK, w)) as (pool, _):
        exchange = Exchange(pool, await pool.take(), 5)
        status, headers = await exchange.ask(GET, None)
        assert (status, headers) == (200, [(b"content-length", b"2"), (b"x-kept", b"Yes")])
        exchange.end()


async def test_an_answer_before_the_end_of_the_upload_is_taken_and_the_connection_not_used_again() -> None:
    refused = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno"
    never = asyncio.Event()

    async def upload() -> AsyncIterator[bytes]:
        yield b"the beginning"
        await never.wait()

    async with behind(lambda _, w: says(refused, w)) as (pool, connections):
        assert await fetch(pool, b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", upload()) == (
            401,
            b"no",
        )
        assert await fetch(pool) == (401, b"no")
        assert len(connections) == 2


async def test_an_upload_that_fails_is_told_as_its_own_failure_and_cuts_the_connection() -> None:
    class TooMuch(Exception):
        pass

    async def upload() -> AsyncIterator[bytes]:
        yield b"the beginning"
        raise TooMuch

    async def waits(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"the end")

    async with behind(waits) as (pool, _):
        with pytest.raises(TooMuch):
            await fetch(pool, b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", upload())
        assert pool._idle == []


async def test_a_chunked_upload_arrives_as_it_was_sent() -> None:
    arrived = bytearray()

    async def reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.extend(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(OK)

    async with behind(reads) as (pool, _):
        head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        assert await fetch(pool, head, pieces(b"one", b"and another")) == (200, b"ok")
    assert bytes(arrived) == b"3\r\none\r\nb\r\nand another\r\n0\r\n\r\n"


async def test_a_reader_that_takes_nothing_holds_the_service_back() -> None:
    much = 64 * HIGH_WATER

    async def floods(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % much)
        writer.write(bytes(much))

    async with behind(floods) as (pool, _):
        connection = await pool.take()
        exchange = Exchange(pool, connection, 5)
        await exchange.ask(GET, None)

        async def held_back() -> bool:
            return not connection._reading

        await eventually(held_back, "the pause")
        assert connection._held <= 2 * HIGH_WATER
        assert len(await exchange.whole()) == much
        exchange.end()


async def test_a_service_that_takes_nothing_holds_the_sender_back() -> None:
    async with behind(lambda _, w: says(OK, w)) as (pool, _):
        connection = await pool.take()
        connection.start(GET)
        connection.pause_writing()
        sending = asyncio.create_task(connection.send(b"piece"))
        await asyncio.sleep(0)
        assert not sending.done()
        connection.resume_writing()
        await sending
        pool.release(connection)


async def test_no_more_connections_than_the_service_can_take() -> None:
    async with behind(lambda _, w: says(OK, w), Limits(connections=2, turn=0.05)) as (pool, _):
        first, second = await pool.take(), await pool.take()
        with pytest.raises(AllInUse):
            await pool.take()
        pool.release(first)
        third = await pool.take()
        pool.release(second)
        pool.release(third)


async def test_many_at_once_share_few_connections_and_each_gets_its_own_answer() -> None:
    async def echoes(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with behind(echoes, Limits(connections=4)) as (pool, connections):
        answers = await asyncio.gather(*(fetch(pool) for _ in range(200)))
        assert set(answers) == {(200, b"ok")}
        assert len(connections) <= 4


async def test_a_caller_cancelled_in_the_middle_gives_its_turn_back_and_cuts_the_connection() -> None:
    asked = asyncio.Event()

    async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        asked.set()

    async with behind(silent, Limits(connections=1)) as (pool, connections):
        for number in (1, 2):
            asked.clear()
            fetching = asyncio.create_task(fetch(pool))
            await asked.wait()
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching
            assert len(connections) == number


async def test_an_address_nobody_listens_at_is_an_error_before_anything_is_sent() -> None:
    async with behind(lambda _, w: says(OK, w)) as (pool, _):
        port = pool.port
    with pytest.raises(ConnectionRefusedError):
        await Pool(f"http://127.0.0.1:{port}", Limits()).take()


def test_an_address_is_read_as_it_is_written() -> None:
    for url, host, port, netloc, secure in (
        ("http://lending:8000", "lending", 8000, b"lending:8000", False),
        ("https://lending.inside", "lending.inside", 443, b"lending.inside", True),
        ("http://[::1]:8002", "::1", 8002, b"[::1]:8002", False),
    ):
        pool = Pool(url, Limits())
        assert (pool.host, pool.port, pool.netloc, pool._tls is not None) == (host, port, netloc, secure)
