"""How much and how long a caller may take until its request is there.

uvicorn bounds neither: a head without end would fill the memory, and whoever falls silent in the middle of a
request would keep its connection, and the one behind it, for ever. Where a proxy stands before the system it
has bounds of its own; where none does, these hold.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_BYTES = 64 * 1024
"""Of the request line and the headers: tokens and cursors are the longest, of a few KB."""
SECONDS = 20.0
"""Until a head is whole, and between two pieces of a body."""


class HeadTooLarge(Exception):
    """The parser stops at it."""


class Patience(HttpToolsProtocol):
    """uvicorn's connection, with an end to patience."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._in_head = True
        self._head_bytes = 0
        self._too_large = False
        self._since = 0.0
        """The head's beginning, or the last piece of the body."""
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self._watch = self.loop.call_later(SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._watch is not None:
            self._watch.cancel()

    def data_received(self, data: bytes) -> None:
        in_head = self._in_head
        if not in_head:
            self._since = self.loop.time()
        super().data_received(data)
        if in_head and self._in_head and not self.transport.is_closing():
            # A header that is not whole yet the parser holds without telling anybody.
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._too_large = True
                self.send_400_response("")

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        told = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if told > HEAD_BYTES:
            self._too_large = True
            raise HeadTooLarge
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What cannot be read is 400; a head that cannot be borne, 431."""
        if not self._too_large:
            super().send_400_response(msg)
            return
        self.transport.write(STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _look(self) -> None:
        """Cut the connection when its caller was silent for too long; otherwise look again."""
        silent = self.loop.time() - self._since
        if silent >= SECONDS and self._is_waiting():
            self.transport.abort()
            return
        again = SECONDS - silent if silent < SECONDS else SECONDS
        self._watch = self.loop.call_later(again, self._look)

    def _is_waiting(self) -> bool:
        """For a head, or for more of a body that there is room for; not for our own answer."""
        if self.cycle is None or self.cycle.response_complete:
            return self._in_head
        return self.cycle.more_body and not self.flow.read_paused
