"""The connections to one service: used again while they are fresh, never more than the service can take."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.gateway.wire import Connection


@dataclass(frozen=True)
class Limits:
    """How long we wait, in seconds, and how many connections there are."""

    connect: float = 3.0
    turn: float = 10.0
    """For a connection, when all are in use."""
    answer: float = 60.0
    """For the answer's head once the request is sent, and between two pieces of its body."""
    idle: float = 3.0
    """Idle connections end here before the service ends them (uvicorn: after 5 s): none is found dead."""
    connections: int = 200


class AllInUse(TimeoutError):
    """No connection came free in time."""


class Pool:
    """The connections to the service at `url` (http or https)."""

    def __init__(self, url: str, limits: Limits) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self.host = parts.hostname or "localhost"
        self.port = parts.port or (443 if secure else 80)
        self.netloc = parts.netloc.rpartition("@")[2].encode()
        self._tls = ssl.create_default_context() if secure else None
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.connections)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()

    async def take(self) -> Connection:
        """A connection ready for an exchange; give it back with `release`. Raises OSError (refused,
        unknown host, no answer in time) and AllInUse, all before anything was sent."""
        try:
            async with asyncio.timeout(self._limits.turn):
                await self._turns.acquire()
        except TimeoutError as error:
            raise AllInUse("all connections are in use") from error
        try:
            return self._fresh() or await self._connect()
        except BaseException:
            self._turns.release()
            raise

    def release(self, connection: Connection) -> None:
        """Keep it for the next exchange, or end it when this one did not end well."""
        self._turns.release()
        if connection.reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abort()

    def close(self) -> None:
        """End them all."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    def _fresh(self) -> Connection | None:
        """The one used last, so that those not needed grow old; old ones are ended."""
        oldest = asyncio.get_running_loop().time() - self._limits.idle
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._limits.connect):
            _, connection = await loop.create_connection(
                lambda: Connection(self._ended), self.host, self.port, ssl=self._tls
            )
        self._open.add(connection)
        return connection

    def _ended(self, connection: Connection) -> None:
        self._open.discard(connection)
        with suppress(ValueError):
            self._idle.remove(connection)
