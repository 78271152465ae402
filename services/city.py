"""All four services in one process: the composition of the one-machine form, of tests and of benches.

Each service has a database of its own and hears the others only through the bus, exactly as when each
runs in a process of its own; only the gateway's way to them is a call instead of a connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from services.compensation.app import SERVICE as COMPENSATION
from services.gateway.app import SERVICE as GATEWAY
from services.gateway.app import create as create_gateway
from services.gateway.upstreams import InProcess
from services.lending.app import SERVICE as LENDING
from services.roster.app import SERVICE as ROSTER
from shared.bus import Bus
from shared.clock import Clock, SystemClock
from shared.migrate import migrate
from shared.postgres_bus import PostgresBus
from shared.service import Service, World, create_app
from shared.settings import Settings

BEHIND_THE_GATEWAY: tuple[Service, ...] = (ROSTER, LENDING, COMPENSATION)
SERVICES: Mapping[str, Service] = {s.name: s for s in (*BEHIND_THE_GATEWAY, GATEWAY)}


@dataclass
class City:
    """The running city: the gateway's app, and each service's for those who look behind it."""

    gateway: FastAPI
    services: Mapping[str, FastAPI]


def offline_documents() -> dict[str, dict[str, Any]]:
    """Every service's OpenAPI document, without database or bus."""

    async def no_keys() -> dict[str, Any]:
        return {"keys": []}

    world = World(Settings(), SystemClock(), PostgresBus(""), no_keys)
    return {name: create_app(service, world).openapi() for name, service in SERVICES.items()}


async def migrate_all(settings: Settings) -> None:
    """Bring every service's database to the newest schema. Raises SchemaTooNew."""
    for name, service in SERVICES.items():
        await migrate(settings.database_url(name), name, service.migrations)


@asynccontextmanager
async def city(settings: Settings, clock: Clock, bus: Bus) -> AsyncIterator[City]:
    """The four services at work on migrated databases until the block ends."""
    keys: dict[str, httpx.AsyncClient] = {}

    async def fetch_keys() -> dict[str, Any]:
        answer = await keys["gateway"].get("/.well-known/jwks.json")
        answer.raise_for_status()
        return dict(answer.json())

    world = World(settings, clock, bus, fetch_keys)
    apps = {service.name: create_app(service, world) for service in BEHIND_THE_GATEWAY}
    gateway = create_gateway(world, {name: InProcess(app) for name, app in apps.items()})
    async with AsyncExitStack() as stack:
        transport = httpx.ASGITransport(gateway)
        keys["gateway"] = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://gateway")
        )
        for app in (*apps.values(), gateway):
            await stack.enter_async_context(app.router.lifespan_context(app))
        yield City(gateway, {**apps, "gateway": gateway})
