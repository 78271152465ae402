"""What a caller says about its connection and its body's length never makes a service see another request
than the gateway saw."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from services.gateway.remote import Remote
from tests.gateway.gate import gate, served
from tests.ground import DAY, Databases

PATHS = {
    "/v1/lending": {"post": {"operationId": "post", "responses": {}}},
    "/v1/lending/{thing}": {"get": {"operationId": "get", "responses": {}}},
}
DOCUMENT = json.dumps({"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": PATHS}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"
SMUGGLED = b"GET /v1/lending/smuggled HTTP/1.1\r\nhost: x\r\n\r\n"


@dataclass
class Behind:
    """A service that keeps what reached it, connection by connection, and answers every head at once."""

    heard: list[list[bytes]] = field(default_factory=list)
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        here: list[bytes] = []
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET /openapi.json"):
                    writer.write(ANSWER % (len(DOCUMENT), DOCUMENT))
                    continue
                if not here:
                    self.heard.append(here)
                here.append(head)
                writer.write(ANSWER % (2, b"ok"))

    @property
    def requests(self) -> list[bytes]:
        return [head for here in self.heard for head in here]


@asynccontextmanager
async def between(databases: Databases) -> AsyncIterator[tuple[str, Behind]]:
    """caller —HTTP→ gateway —HTTP→ Behind; the gateway's address."""
    behind = Behind()
    server = await asyncio.start_server(behind.connected, "127.0.0.1", 0)
    async with AsyncExitStack() as stack:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        it = await stack.enter_async_context(gate(databases, {"lending": Remote(address)}))
        yield await stack.enter_async_context(served(it.app)), behind
    for writer in behind.open:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def say(address: str, request: bytes) -> bytes:
    """The first answer to these bytes: its head."""
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()
    await writer.wait_closed()
    return head


def post(headers: bytes, body: bytes) -> bytes:
    return b"POST /v1/lending HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n" + body


async def test_connection_cannot_name_the_body_s_length_away(databases: Databases) -> None:
    length = b"content-length: %d\r\n" % len(SMUGGLED)
    async with between(databases) as (address, behind):
        head = await say(address, post(b"connection: content-length\r\n" + length, SMUGGLED))
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"\r\n" + length in behind.requests[0]


async def test_connection_cannot_name_away_what_the_gateway_says_of_a_request(databases: Databases) -> None:
    async with between(databases) as (address, behind):
        named = b"connection: x-mine, X-Request-Id, traceparent, x-sandbox-day\r\nx-mine: 1\r\n"
        head = await say(address, b"GET /v1/lending/7 HTTP/1.1\r\nhost: x\r\n" + named + b"\r\n")
        told = re.search(rb"x-request-id: (.*?)\r\n", head)
        assert told is not None
        assert b"x-request-id: " + told[1] + b"\r\n" in behind.requests[0]
        assert b"\r\ntraceparent: " in behind.requests[0]
        assert f"\r\nx-sandbox-day: {DAY}".encode() in behind.requests[0]
        assert b"x-mine" not in behind.requests[0]


async def test_a_body_shorter_than_announced_leaves_no_connection_that_waits_for_the_rest(
    databases: Databases,
) -> None:
    """A request that asks for an upgrade loses its body in the server that takes it in."""
    async with between(databases) as (address, behind):
        for _ in range(3):
            upgrade = b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 9\r\n"
            assert (await say(address, post(upgrade, b'{"a":"b"}'))).startswith(b"HTTP/1.1 400 ")
            other = await say(address, b"GET /v1/lending/other HTTP/1.1\r\nhost: x\r\n\r\n")
            assert other.startswith(b"HTTP/1.1 200 ")
        for requests in behind.heard:
            posts = [at for at, head in enumerate(requests) if head.startswith(b"POST ")]
            assert posts in ([], [len(requests) - 1]), "nothing was asked after it on the same connection"


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"content-length: 2\r\ncontent-length: 2\r\n", b"{}"),
        post(b"content-length: 2, 2\r\n", b"{}"),
        post(b"content-length: +2\r\n", b"{}"),
        post(b"content-length: 2\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n"),
        post(b"transfer-encoding : chunked\r\n", b"0\r\n\r\n"),
        post(b"x-folded: a\r\n connection: content-length\r\n", b""),
        post(b"x-return: a\rx-more: b\r\n", b""),
        post(b"x-nul: a\0b\r\n", b""),
        b"GET /v1/lending/7 HTTP/1.1\nhost: x\n\n",
        b"GET /v1/lending/7?q=\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT elsewhere:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_what_can_be_read_in_two_ways_reaches_no_service(
    databases: Databases, request_bytes: bytes
) -> None:
    async with between(databases) as (address, behind):
        assert (await say(address, request_bytes)).startswith(b"HTTP/1.1 400 ")
        assert behind.requests == []


@pytest.mark.parametrize(
    ("target", "passed_on"),
    [
        (b"http://elsewhere/v1/lending/7", b"/v1/lending/7"),
        (b"/v1/lending/7#/../x", b"/v1/lending/7"),
        (b"/v1/lending/7%3Fq=1", b"/v1/lending/7%3Fq=1"),
        (b"/v1/lending/7%0D%0Ax-more:%201", b"/v1/lending/7%0D%0Ax-more:%201"),
        (b"//v1/lending/7", None),
        (b"/v1/lending/../7/x", None),
        (b"/v1/lending/../../readyz", None),
        (b"/v1/lending/..%2f..%2freadyz", None),
    ],
)
async def test_the_address_that_chose_the_service_is_the_one_it_gets(
    databases: Databases, target: bytes, passed_on: bytes | None
) -> None:
    async with between(databases) as (address, behind):
        head = await say(address, b"GET " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 " if passed_on else b"HTTP/1.1 404 ")
        asked = [request.split(b" ")[1] for request in behind.requests]
        assert asked == ([passed_on] if passed_on else [])
