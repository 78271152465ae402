"""The gateway's own cost: the same requests through it and straight to the service behind it, in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI

from bench import load as requests
from bench.ground import load, served
from bench.town import LENDERS, drawdown, fill, lender
from bench.turns import ROUNDS, Turns, in_turn
from bench.verdict import Line
from services.gateway.app import SERVICE as GATEWAY
from services.gateway.app import create as create_gateway
from services.gateway.keys import Keys
from services.gateway.upstreams import InProcess
from services.lending.app import SERVICE as LENDING
from shared.clock import SandboxClock
from shared.postgres_bus import PostgresBus
from shared.service import World, create_app
from shared.settings import Settings
from tests.ground import DAY, Databases

EACH = 320
TARGET = 0.8


async def measure(databases: Databases, *, large: bool) -> list[Line]:
    """Requests per second through the gateway as a share of those without it: filing, and lists."""
    async with _both(databases) as (gateway, lending), served(gateway) as front, served(lending) as behind:
        tokens = [await _token(gateway, n) for n in range(LENDERS)]
        waiting = iter(range((ROUNDS + 1) * EACH * 2))

        def filings() -> list[bytes]:
            return [_filing(next(waiting), tokens) for _ in range(EACH)]

        def lists() -> list[bytes]:
            asked = [requests.request("GET", "/v1/loans?limit=50", token) for token in tokens]
            return asked * (EACH // LENDERS)

        async def turns(made: Callable[[], list[bytes]]) -> Turns:
            return await in_turn(lambda: load(front, made()), lambda: load(behind, made()))

        return [_line("filing", await turns(filings)), _line("list of 50", await turns(lists))]


@asynccontextmanager
async def _both(databases: Databases) -> AsyncIterator[tuple[FastAPI, FastAPI]]:
    """The gateway before lending in one process, as the one-machine form composes them."""
    async with AsyncExitStack() as stack:
        urls = {
            f"{name}_database_url": await databases.fresh(service, name)
            for name, service in (("gateway", GATEWAY), ("lending", LENDING), ("bus", None))
        }
        stack.push_async_callback(databases.drop, *urls.values())
        settings = Settings.model_validate(urls | {"secret": "only for benches", "sandbox": True})
        bus = PostgresBus(settings.bus_database_url)
        await bus.start()
        stack.push_async_callback(bus.close)
        gateway: FastAPI

        async def fetch() -> dict[str, Any]:
            return await cast(Keys, gateway.state.keys).jwks()

        world = World(settings, SandboxClock(DAY), bus, fetch)
        lending = create_app(LENDING, world)
        gateway = create_gateway(world, {"lending": InProcess(lending)})
        for app in (lending, gateway):
            await stack.enter_async_context(app.router.lifespan_context(app))
            await app.state.running.days.catch_up()
        await fill(settings.lending_database_url, 10_000, (ROUNDS + 1) * EACH * 2)
        yield gateway, lending


async def _token(gateway: FastAPI, n: int) -> dict[str, str]:
    party = str(lender(n))
    claims = {"sub": party, "name": "bench", "roles": ["institution"], "party": party, "kind": "person"}
    return {"authorization": f"Bearer {await cast(Keys, gateway.state.keys).sign(claims)}"}


def _filing(n: int, tokens: list[dict[str, str]]) -> bytes:
    headers = tokens[n % LENDERS] | {"idempotency-key": f"bench-{n}"}
    return requests.request("POST", "/v1/loans", headers, drawdown(n))


def _line(name: str, turns: Turns) -> Line:
    figures = f"{turns.one_per_second:.0f}/s against {turns.other_per_second:.0f}/s"
    return Line(f"{name}, gateway / service", turns.ratio, TARGET, figures)
