"""The gateway composed: its own steps, and the edge that passes everything else on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path

from fastapi import FastAPI

from services.gateway import accounts, activation, catalogue, clients, me, pages, sandbox, signing_in, token
from services.gateway.account import Table
from services.gateway.activation import remember_registration
from services.gateway.edge import Edge
from services.gateway.ended import Ended
from services.gateway.keys import Keys, utc_now
from services.gateway.lockout import forget_old_failures
from services.gateway.passwords import Passwords
from services.gateway.signing_in import Door
from services.gateway.surface import Surface
from services.gateway.upstreams import Upstream
from shared.events import GATEWAY, ROSTER, EnterpriseRegistered
from shared.identity import Verifier
from shared.service import Running, Service, World, create_app

SERVICE = Service(
    name="gateway",
    title="Gateway",
    steps=(
        signing_in.steps,
        token.steps,
        me.steps,
        activation.steps,
        accounts.steps,
        clients.steps,
        sandbox.steps,
    ),
    metadata=Table.metadata,
    migrations=Path(__file__).parent / "migrations",
    hears=(ROSTER, GATEWAY),
    remembers={EnterpriseRegistered: (remember_registration,)},
    memory=("registration",),
    takes_passwords=True,
    daily=forget_old_failures,
)


def create(
    world: World, upstreams: Mapping[str, Upstream], *, now: Callable[[], datetime] = utc_now
) -> FastAPI:
    """The gateway before these services. What they serve is read from them at start and refreshed;
    `now` is the time tokens and lock-outs go by."""
    app = create_app(SERVICE, world, openapi_url=None)
    surface, ended = Surface(upstreams, app.openapi), Ended()
    own_lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(inner: FastAPI) -> AsyncIterator[None]:
        async with own_lifespan(inner), AsyncExitStack() as stack:
            for upstream in upstreams.values():
                stack.push_async_callback(upstream.close)
            running: Running = inner.state.running
            inner.state.keys = Keys(running.database, world.settings.secret, now)
            inner.state.door = Door(running.database, Passwords(), now)
            running.neighbours = surface.neighbours
            running.verifier = Verifier(inner.state.keys.jwks, now=lambda: now().timestamp())
            ended.database = running.database
            await ended.refresh()
            await surface.refresh()
            for work in (surface.keep_fresh(), ended.watch()):
                task = asyncio.create_task(work)
                stack.push_async_callback(_finished, task)
                stack.callback(task.cancel)
            yield

    app.router.lifespan_context = lifespan
    app.state.surface = surface
    app.state.ended = ended
    app.include_router(pages.pages)
    app.include_router(catalogue.pages)
    app.mount("/static", pages.bundled())
    app.router.redirect_slashes = False
    app.add_middleware(Edge, surface=surface, ended=ended, clock=world.clock)
    return app


async def _finished(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task], timeout=5)
