"""One HTTP/1.1 connection to a service behind: requests out and answers in, piece by piece, both ways
held back when the other side is slow.

It is small on purpose. The gateway makes one such exchange for every request from outside, and its peers are
our own services: no redirects, cookies, proxies or second tries are wanted here. A general client took 1.2 to
2.4 ms of processor time for each request passed on, ten times what a simple question costs the service that
answers it; this takes 0.12 ms, on the parser the server uses as well.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import httptools

Headers = list[tuple[bytes, bytes]]
HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024


class Broken(ConnectionError):
    """The connection ended, or spoke nonsense, before the answer was whole."""


class Connection(asyncio.Protocol):
    """A connection that carries one exchange after the other: `start`, `send`…, `head`, `take`…"""

    def __init__(self, lost: Callable[[Connection], None]) -> None:
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser = httptools.HttpResponseParser(self)
        self.answer: asyncio.Future[tuple[int, Headers]] = self._loop.create_future()
        """The head of the answer, once it has come."""
        self.answerers: Headers = []
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._news: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._reading = True
        self._complete = True
        self._reusable = True
        self._error: Broken | None = None
        self.idle_since = 0.0

    @property
    def reusable(self) -> bool:
        """The last exchange is over, and the connection may carry another."""
        return self._complete and self._reusable and not self._transport.is_closing()

    # ── the request ──────────────────────────────────────────────────────────────────────────────

    def start(self, head: bytes) -> None:
        """Send the request line and headers."""
        self._parser = httptools.HttpResponseParser(self)
        self.answer = self._loop.create_future()
        self.answer.add_done_callback(_seen)
        self.answerers = []
        self._complete = False
        self._transport.write(head)

    async def send(self, piece: bytes) -> None:
        """Send a piece of the body when the service takes more. Raises Broken."""
        if self._writable is not None:
            await self._writable
        if self._error or self._transport.is_closing():
            raise self._error or Broken("closed while sending")
        self._transport.write(piece)

    # ── the answer ───────────────────────────────────────────────────────────────────────────────

    async def head(self, seconds: float | None) -> tuple[int, Headers]:
        """The answer's status and headers (lower case). Raises Broken, TimeoutError."""
        async with asyncio.timeout(seconds):
            return await asyncio.shield(self.answer)

    async def take(self, seconds: float) -> tuple[bytes, bool]:
        """What has come of the body, and whether that was all. Raises Broken, TimeoutError."""
        while not (self._pieces or self._complete):
            if self._error is not None:
                raise self._error
            self._news = self._loop.create_future()
            async with asyncio.timeout(seconds):
                await self._news
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()
        return piece, self._complete

    def abort(self) -> None:
        """Cut the connection: what it was doing is no longer wanted."""
        self._reusable = False
        self._transport.abort()

    # ── asyncio's side ───────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)

    def data_received(self, data: bytes) -> None:
        if self._complete:
            self.abort()  # nobody asked: a connection that speaks unasked is not used again
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(Broken(f"not HTTP: {type(error).__name__}"))
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._complete:
            self._fail(Broken(str(error or "closed before the end of the answer")))
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._lost(self)

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _fail(self, error: Broken) -> None:
        self._error = error
        self._reusable = False
        if not self.answer.done():
            self.answer.set_exception(error)
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # ── the parser's side ────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        if self._complete:
            self.abort()  # a second answer to one question

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answerers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self.answer.done():
            self.answer.set_result((status, self.answerers))
        self.answerers = []

    def on_body(self, body: bytes) -> None:
        if self._complete:
            return
        self._pieces.append(body)
        self._held += len(body)
        if self._held > HIGH_WATER and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self.answer.done():  # and not only an interim answer (1xx)
            self._complete = True
            self._reusable = self._reusable and self._parser.should_keep_alive()
            self._wake()


def _seen(head: asyncio.Future[tuple[int, Headers]]) -> None:
    """An answer that failed after its caller went away is nobody's unhandled error."""
    with suppress(asyncio.CancelledError):
        head.exception()
