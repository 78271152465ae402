"""One request to a service and its answer, on one connection. The body goes out while the answer may
already be coming in: a service may refuse before it has read everything, or answer piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

from starlette.types import Receive, Send

from services.gateway.pool import Pool
from services.gateway.wire import Broken, Connection, Headers


class Exchange:
    """Ask, then pass the answer on (or take it whole), then end; always end."""

    def __init__(self, pool: Pool, connection: Connection, seconds: float) -> None:
        self._pool = pool
        self._connection = connection
        self._seconds = seconds
        self._sending: asyncio.Task[None] | None = None

    async def ask(
        self, head: bytes, body: AsyncIterator[bytes] | None, *, chunked: bool = False
    ) -> tuple[int, Headers]:
        """Send the request; status and headers of the answer. Raises Broken, TimeoutError, and whatever
        the body raises. While the caller is still sending, the service has all the time."""
        self._connection.start(head)
        if body is not None:
            self._sending = asyncio.create_task(self._send(body, chunked=chunked))
            self._sending.add_done_callback(self._sent)
            either: set[asyncio.Future[Any]] = {self._sending, self._connection.answer}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._sending.done():
                with suppress(Broken):  # an answer may have come before the end; if not, that is told below
                    self._sending.result()
        return await self._connection.head(self._seconds)

    async def pass_on(self, receive: Receive, send: Send, *, endless: bool) -> None:
        """Send the body on as it comes. One that may have no end ends when the caller goes away."""
        if endless and (self._sending is None or self._sending.done()):
            await _until_gone(self._pump(send), receive)
        else:
            await self._pump(send)

    async def whole(self) -> bytes:
        """The whole body."""
        pieces, last = [], False
        while not last:
            piece, last = await self._connection.take(self._seconds)
            pieces.append(piece)
        return b"".join(pieces)

    def end(self) -> None:
        """Give the connection back; one in the middle of something is cut."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            self._connection.abort()
        self._pool.release(self._connection)

    async def _send(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        async for piece in body:
            await self._connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            await self._connection.send(b"0\r\n\r\n")

    def _sent(self, sending: asyncio.Task[None]) -> None:
        """Half a body cannot be taken back: whoever waits for the answer learns that it will not come."""
        if not sending.cancelled() and sending.exception() is not None:
            self._connection.abort()

    async def _pump(self, send: Send) -> None:
        last = False
        while not last:
            piece, last = await self._connection.take(self._seconds)
            await send({"type": "http.response.body", "body": piece, "more_body": not last})


async def _until_gone(pumping: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Run until it is done, or until the caller is gone."""
    tasks = [asyncio.create_task(pumping), asyncio.create_task(_gone(receive))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
