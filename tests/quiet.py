"""Every service's database looked into from outside, and whether the city is quiet: everything announced is
on the bus, and everything on the bus was taken in by everybody who hears it. The same for every form.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.city import SERVICES
from shared.database import plain_url
from shared.settings import Settings
from tests.ground import eventually

Row = tuple[Any, ...]


class Databases:
    """A connection to every service's database."""

    def __init__(self, connections: dict[str, Any]) -> None:
        self._connections = connections

    async def rows(self, name: str, statement: str, *values: object) -> list[Row]:
        return [tuple(row) for row in await self._connections[name].fetch(statement, *values)]

    async def value(self, name: str, statement: str, *values: object) -> Any:
        return await self._connections[name].fetchval(statement, *values)

    async def quiet(self, limit_seconds: float = 60.0) -> None:
        """Wait until the city is quiet."""
        # Twice: what one service takes in may be what another then announces.
        await eventually(self._settled, "a quiet city", limit_seconds)
        await eventually(self._settled, "a quiet city", limit_seconds)

    async def _settled(self) -> bool:
        announced: dict[str, int] = {}
        for name in SERVICES:
            counted = "SELECT count(*), count(*) FILTER (WHERE published_at IS NULL) FROM outbox"
            [(announced[f"kechuang.{name}"], unpublished)] = await self.rows(name, counted)
            if unpublished:
                return False
        for name, service in SERVICES.items():
            heard = sum(announced[topic] for topic in service.hears)
            taken_in = "SELECT count(DISTINCT event_id) FROM inbox WHERE consumer = $1"
            if await self.value(name, taken_in, name) < heard:
                return False
        return True


@asynccontextmanager
async def databases(settings: Settings) -> AsyncIterator[Databases]:
    connections = {name: await asyncpg.connect(plain_url(settings.database_url(name))) for name in SERVICES}
    try:
        yield Databases(connections)
    finally:
        for connection in connections.values():
            await connection.close()
