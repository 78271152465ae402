"""The ground tests stand on: one PostgreSQL for the run, databases cloned from migrated templates, a
test issuer of tokens, one service alone on the real bus.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from sqlalchemy import select

from shared.bus import Bus, Outgoing
from shared.clock import SandboxClock
from shared.database import plain_url
from shared.embedded_postgres import EmbeddedPostgres
from shared.events import EVENTS, Event
from shared.identity import AUDIENCE, ISSUER
from shared.migrate import migrate
from shared.outbox import row_of
from shared.plumbing import outbox
from shared.postgres_bus import PostgresBus
from shared.service import Running, Service, World, create_app
from shared.settings import Settings

DAY = date(2026, 3, 2)
"""The business date every test begins on, a Monday."""

_numbers = itertools.count(1)


class Issuer:
    """Issues tokens as the gateway would, with a key of the test's own."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", parameters={"kid": "test"})

    async def fetch(self) -> dict[str, Any]:
        return dict(KeySet([self.key]).as_dict(private=False))

    def token(self, *roles: str, party: str | None = None, machine: bool = False, name: str = "") -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": f"{'+'.join(roles)}:{party or ''}:{name}",
            "name": name or roles[0],
            "roles": list(roles),
            "party": party,
            "kind": "machine" if machine else "person",
            "iat": now,
            "exp": now + 3600,
        }
        return jwt.encode({"alg": "ES256", "kid": "test"}, claims, self.key)


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(plain_url(url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class Databases:
    """Fresh databases for a test, copied from a template that was migrated once per run."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self._templates: dict[str, str] = {}

    async def fresh(self, service: Service | None, name: str) -> str:
        """The URL of a new database with the service's schema (or empty, for the bus)."""
        admin = self.postgres.url("postgres")
        database = f"t{next(_numbers)}_{name}"
        template = await self._template(service, name)
        await execute(admin, f'CREATE DATABASE "{database}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self.postgres.url(database)

    async def drop(self, *urls: str) -> None:
        admin = self.postgres.url("postgres")
        for url in urls:
            name = url.split("/", 3)[3].split("?")[0]
            await execute(admin, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _template(self, service: Service | None, name: str) -> str:
        if service is None:
            return "template0"
        # By the folder of its migrations: the toy of the shared tests is called roster too.
        key = str(service.migrations)
        if key not in self._templates:
            template = f"template_{len(self._templates)}_{name}"
            await execute(self.postgres.url("postgres"), f'CREATE DATABASE "{template}"')
            await migrate(self.postgres.url(template), name, service.migrations)
            self._templates[key] = template
        return self._templates[key]


def session_client(app: FastAPI, headers: Mapping[str, str]) -> httpx.AsyncClient:
    """A client of the app in this process; a failure inside is an answer, as over the network."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(
        transport=transport, base_url="http://kechuang.test", headers=headers, timeout=60
    )


async def eventually(
    condition: Callable[[], Awaitable[Any]],
    what: str = "the condition",
    limit_seconds: float = 20.0,
    every_seconds: float = 0.01,
) -> Any:
    """Wait until the condition is true; its value. Fails after the limit."""
    deadline = time.monotonic() + limit_seconds
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"{what} did not come true in {limit_seconds} s"
        await asyncio.sleep(every_seconds)
    return value


@dataclass
class Alone:
    """One service on a real database and bus; the other services are played by the test."""

    app: FastAPI
    running: Running
    bus: Bus
    clock: SandboxClock
    issuer: Issuer
    _clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(
        self, *roles: str, party: str | None = None, machine: bool = False, language: str = "en"
    ) -> httpx.AsyncClient:
        """A client with a token of these roles and party; without roles, without a token. A machine
        client sends no Idempotency-Key by itself."""
        headers = {"accept-language": language}
        if roles:
            headers["authorization"] = f"Bearer {self.issuer.token(*roles, party=party, machine=machine)}"
        client = session_client(self.app, headers)
        self._clients.append(client)
        return client

    async def hear(self, *events: Event) -> None:
        """The other services announce these facts; returns when this service has taken them in."""
        await self.bus.publish(
            [
                Outgoing(
                    row["topic"],
                    row["key"],
                    row["event_id"],
                    row["type"],
                    row["time"],
                    None,
                    row["data"].encode(),
                )
                for row in (row_of(event, None) for event in events)
            ]
        )
        await self.settle()

    async def settle(self) -> None:
        """Until this service has taken in all it hears and published all it announced."""

        async def quiet() -> bool:
            async with self.running.database.reading() as session:
                waiting = await session.execute(
                    select(outbox.c.seq).where(outbox.c.published_at.is_(None)).limit(1)
                )
            subscription = self.running.consumer.subscription
            lag = (await subscription.place()).lag if subscription else 0
            ready = subscription is not None or not self.running.service.hears
            return ready and lag == 0 and waiting.first() is None

        await eventually(quiet, "a quiet outbox and inbox")

    async def announced(self, kind: type[Event] | None = None) -> list[Any]:
        """The facts this service has announced so far, oldest first; only of one kind if given."""
        async with self.running.database.reading() as session:
            rows = (await session.execute(select(outbox).order_by(outbox.c.seq))).all()
        events = [EVENTS[row.type].read(row.event_id, row.time, row.data.encode()) for row in rows]
        return [event for event in events if kind is None or isinstance(event, kind)]

    async def move_to(self, day: date) -> None:
        """Hold the clock at `day` and wait until the service has done every day up to it."""
        self.clock.hold(day)
        await self.running.days.catch_up()


@asynccontextmanager
async def alone(databases: Databases, service: Service, today: date = DAY) -> AsyncIterator[Alone]:
    """`service` by itself, on fresh databases, its clock held at `today`."""
    clock, issuer = SandboxClock(today), Issuer()
    async with AsyncExitStack() as stack:
        url = await databases.fresh(service, service.name)
        bus_url = await databases.fresh(None, "bus")
        stack.push_async_callback(databases.drop, url, bus_url)
        settings = Settings.model_validate(
            {f"{service.name}_database_url": url, "bus_database_url": bus_url, "sandbox": True}
        )
        bus = PostgresBus(bus_url)
        await bus.start()
        stack.push_async_callback(bus.close)
        app = create_app(service, World(settings, clock, bus, issuer.fetch))
        await stack.enter_async_context(app.router.lifespan_context(app))
        it = Alone(app, app.state.running, bus, clock, issuer)
        await it.move_to(today)
        yield it
        for client in it._clients:
            await client.aclose()


def key() -> dict[str, str]:
    """Headers with a new Idempotency-Key."""
    return {"idempotency-key": str(uuid4())}
