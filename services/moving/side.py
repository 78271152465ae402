"""One side of a move: an installation, by the settings or the data folder that describe it.

A side must be stopped: no session of its role but ours is connected to its databases, nobody holds the
lease of its relays, and ours are held for as long as the move takes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from pydantic_settings import DotEnvSettingsSource

from services.city import SERVICES
from services.moving import refusals
from services.run import DATABASES, SECRET
from shared.database import plain_url
from shared.embedded_postgres import EmbeddedPostgres
from shared.outbox import LEASE
from shared.settings import Settings

SESSION = {
    # Values as text must read the same on both sides, and a long wait must not end us.
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "jit": "off",
    "lock_timeout": "5s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
}
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND usename = current_user AND pid <> pg_backend_pid() AND leader_pid IS NULL"
)


@dataclass(frozen=True)
class Side:
    """An installation that can be reached: complete settings, and what to call it."""

    name: str
    settings: Settings
    folder: Path | None
    """The data folder of the one-process form, where its secret lies."""


def described_by(place: Path, *, target: bool) -> Settings:
    """The settings of the installation at `place`: a file of settings, or the data folder of the
    one-process form. The environment of this process has no say in it. Raises Refused."""
    defaults: dict[str, Any] = {name: field.default for name, field in Settings.model_fields.items()}
    if place.is_file():
        told: Mapping[str, Any] = DotEnvSettingsSource(Settings, env_file=place)()
        if "data" not in told and not all(f"{name}_database_url" in told for name in SERVICES):
            raise refusals.says_too_little(place)
        return Settings.model_validate(defaults | dict(told))
    if not place.is_dir() and not target:
        raise refusals.nothing_there(place)
    return Settings.model_validate(defaults | {"data": place})


@contextmanager
def opened(settings: Settings, *, target: bool) -> Iterator[Side]:
    """The installation these settings describe, its embedded PostgreSQL started where it has one."""
    needed = [name for name in DATABASES if name != "bus" or settings.bus == "postgres"]
    if all(settings.database_url(name) for name in needed):
        yield Side(settings.database_url("roster").rsplit("@", 1)[-1], settings, None)
        return
    server = EmbeddedPostgres(settings.data)
    if not target and not (server.data / "PG_VERSION").exists():
        raise refusals.nothing_there(settings.data)
    server.start()
    try:
        if target:
            server.ensure_databases(DATABASES)
        urls = {f"{name}_database_url": settings.database_url(name) or server.url(name) for name in needed}
        secret = settings.secret or _kept_secret(settings.data)
        complete = settings.model_copy(update={**urls, "secret": secret})
        yield Side(str(settings.data), complete, settings.data)
    finally:
        server.stop()


def _kept_secret(folder: Path) -> str:
    file = folder / SECRET
    return file.read_text("utf-8") if file.exists() else ""


@asynccontextmanager
async def stopped(side: Side) -> AsyncIterator[dict[str, asyncpg.Connection]]:
    """A connection to each service's database, which nobody else works on. Raises Refused."""
    async with AsyncExitStack() as stack:
        connections: dict[str, asyncpg.Connection] = {}
        for name in SERVICES:
            connections[name] = await _connect(side, name)
            stack.push_async_callback(connections[name].close, timeout=5)
        for name, connection in connections.items():
            if await connection.fetchval(OTHERS) or not await connection.fetchval(LEASE):
                raise refusals.running(side.name, name)
        yield connections


async def _connect(side: Side, name: str) -> asyncpg.Connection:
    try:
        url = plain_url(side.settings.database_url(name))
        return await asyncpg.connect(url, server_settings=SESSION, timeout=30)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise refusals.not_reached(side.name, name, error) from error
