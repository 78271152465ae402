"""The gateway at work before two made-up services, with a time the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast

import httpx
import uvicorn
from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse, StreamingResponse

from services.gateway.app import SERVICE, create
from services.gateway.keys import Keys
from services.gateway.upstreams import InProcess, Upstream
from shared import problems
from shared.clock import SandboxClock
from shared.postgres_bus import PostgresBus
from shared.service import Running, World
from shared.settings import Settings
from tests.ground import DAY, Databases, eventually, key, session_client

SECRET = "the secret of the tests"
PASSWORD = "pinghu-tide-1984"


class Time:
    """The machine's time, held by the test. It begins now: the database's own time goes on."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, **duration: float) -> None:
        self.at += timedelta(**duration)


async def iterate_in_turn(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def made_up_service(name: str) -> FastAPI:
    """A service that shows what reached it."""
    app = FastAPI(title=name, docs_url=None, redoc_url=None)
    problems.install(app)

    @app.get(f"/v1/{name}/named", operation_id=f"get_{name}_named")
    async def named() -> str:
        return "named"

    @app.get(f"/v1/{name}/broken", operation_id=f"break_{name}")
    async def broken() -> None:
        raise RuntimeError("broken on purpose")

    @app.get(f"/v1/{name}/{{thing}}", operation_id=f"get_{name}")
    async def get(thing: str, request: Request, q: str | None = None) -> dict[str, Any]:
        return {"thing": thing, "q": q, "headers": dict(request.headers), "path": request.url.path}

    @app.post(f"/v1/{name}", operation_id=f"post_{name}", status_code=201)
    async def post(body: dict[str, Any], authorization: Annotated[str | None, Header()] = None) -> Any:
        return JSONResponse({"body": body, "token": authorization}, 201, {"Location": f"/v1/{name}/1"})

    @app.put(f"/v1/{name}/upload", operation_id=f"upload_{name}")
    async def upload(request: Request) -> StreamingResponse:
        """Answers with what it was sent, in the same pieces."""
        pieces = [piece async for piece in request.stream()]
        return StreamingResponse(iterate_in_turn(pieces), media_type="application/octet-stream")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> dict[str, str]:
        return {"status": "ready", "day": app.state.day}

    app.state.day = DAY.isoformat()
    return app


@dataclass
class Gate:
    """The running gateway."""

    app: FastAPI
    clock: SandboxClock
    time: Time
    bus: PostgresBus
    behind: Mapping[str, FastAPI]
    _clients: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def running(self) -> Running:
        return cast(Running, self.app.state.running)

    @property
    def keys(self) -> Keys:
        return cast(Keys, self.app.state.keys)

    def client(self, token: str | None = None, *, language: str = "en") -> httpx.AsyncClient:
        headers = {"accept-language": language}
        if token:
            headers["authorization"] = f"Bearer {token}"
        client = session_client(self.app, headers)
        self._clients.append(client)
        return client

    async def token(self, *roles: str, party: str | None = None) -> str:
        """A token of somebody who has no account here."""
        claims = {"sub": "test:" + "+".join(roles), "name": roles[0], "roles": list(roles), "party": party}
        return await self.keys.sign(claims | {"kind": "person"})

    async def office(self) -> httpx.AsyncClient:
        return self.client(await self.token("office"))

    async def account(self, name: str = "chen", role: str = "office", **more: Any) -> dict[str, Any]:
        """An account with PASSWORD."""
        body = {"name": name, "display_name": name.title(), "roles": [role], "password": PASSWORD} | more
        answer = await (await self.office()).post("/v1/accounts", json=body, headers=key())
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def sign_in(self, name: str = "chen", password: str = PASSWORD) -> httpx.Response:
        return await self.client().post("/v1/session", json={"name": name, "password": password})


@asynccontextmanager
async def gate(
    databases: Databases, upstreams: Mapping[str, Upstream] | None = None, *, sandbox: bool = True
) -> AsyncIterator[Gate]:
    """The gateway before these services, or before two made-up ones in this process."""
    clock, time = SandboxClock(DAY), Time()
    behind = {name: made_up_service(name) for name in ("roster", "lending")}
    async with AsyncExitStack() as stack:
        url = await databases.fresh(SERVICE, "gateway")
        bus_url = await databases.fresh(None, "bus")
        stack.push_async_callback(databases.drop, url, bus_url)
        bus = PostgresBus(bus_url)
        await bus.start()
        stack.push_async_callback(bus.close)
        settings = Settings.model_validate(
            {"gateway_database_url": url, "bus_database_url": bus_url, "secret": SECRET, "sandbox": sandbox}
        )
        before = upstreams or {name: InProcess(app) for name, app in behind.items()}
        app = create(World(settings, clock, bus, _no_keys), before, now=time)
        await stack.enter_async_context(app.router.lifespan_context(app))
        await app.state.running.days.catch_up()
        it = Gate(app, clock, time, bus, behind)
        yield it
        for client in it._clients:
            await client.aclose()


async def _no_keys() -> dict[str, Any]:
    raise AssertionError("the gateway asks nobody else for its own keys")


@asynccontextmanager
async def served(app: FastAPI, port: int = 0) -> AsyncIterator[str]:
    """The app over real HTTP on this machine; its address."""
    config = uvicorn.Config(app, port=port, lifespan="off", log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())

    async def started() -> bool:
        return server.started or serving.done()

    await eventually(started, "the server")
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
