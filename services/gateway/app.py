"""The gateway composed: its own steps, and the proxy for everything that is not its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from services.gateway import accounts, activation, pages, sandbox, token
from services.gateway.account import Table
from services.gateway.activation import remember_registration
from services.gateway.keys import Keys
from services.gateway.proxy import Edge, Proxy
from services.gateway.upstreams import Upstream
from shared.events import ROSTER, EnterpriseRegistered
from shared.service import Service, World, create_app

SERVICE = Service(
    name="gateway",
    title="Gateway",
    steps=(token.steps, accounts.steps, activation.steps, sandbox.steps),
    metadata=Table.metadata,
    migrations=Path(__file__).parent / "migrations",
    hears=(ROSTER,),
    reactions={EnterpriseRegistered: (remember_registration,)},
)
REFRESH_SECONDS = 60.0


def create(world: World, upstreams: Mapping[str, Upstream]) -> FastAPI:
    """The gateway before these services. Its routing table is read from them at start and refreshed."""
    app = create_app(SERVICE, world, openapi_url=None)
    own_lifespan = app.router.lifespan_context
    proxy = Proxy(upstreams)

    @asynccontextmanager
    async def lifespan(inner: FastAPI) -> AsyncIterator[None]:
        async with own_lifespan(inner):
            inner.state.keys = Keys(inner.state.running.database, world.settings.secret)
            refreshing = asyncio.create_task(_keep_fresh(proxy))
            try:
                yield
            finally:
                refreshing.cancel()
                for upstream in upstreams.values():
                    await upstream.close()

    app.router.lifespan_context = lifespan
    app.state.proxy = proxy
    app.state.upstreams = upstreams
    app.include_router(pages.pages)
    app.mount("/static", pages.bundled())
    app.router.redirect_slashes = False
    app.router.default = proxy
    app.add_middleware(Edge)
    return app


async def _keep_fresh(proxy: Proxy) -> None:
    while True:
        try:
            await proxy.refresh()
            pause = REFRESH_SECONDS
        except Exception:  # noqa: BLE001  (a service that is away is asked again soon)
            pause = 0.5
        await asyncio.sleep(pause)
