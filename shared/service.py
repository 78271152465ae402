"""The skeleton of a service, written once: routes, one transaction per command, background work.

A service is its steps (routers in the order of the journey), its reactions, and what a new business day
brings. `Route` is how every command runs: authenticate, permit, open the transaction, recognise a
repeated request, run the step, keep the answer, audit, commit, and only then reply.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter as Count
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from shared import audit, crashpoints, idempotency, problems, tracing
from shared.bus import Bus
from shared.clock import SANDBOX_DAY, Clock, SandboxClock
from shared.database import Database
from shared.days import Daily, Days
from shared.events import Event, SandboxClockMoved
from shared.identity import Principal, Verifier, permissions, permit
from shared.inbox import Consumer, Heard, Reaction, Reactions
from shared.metrics import Metrics, Works
from shared.outbox import Relay
from shared.problems import PROBLEM_SCHEMA, Conflict, refusals
from shared.readiness import Readiness
from shared.rules import Text
from shared.settings import Settings
from shared.watch import Watch

log = logging.getLogger("kechuang.service")
TRIES = 4
LONGEST_PAUSE_SECONDS = 30.0
OWN_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)
"""FastAPI's is not used: its spans show query strings and its records the input of failed validations."""


@dataclass(frozen=True)
class Service:
    """One service as data."""

    name: str
    title: str
    steps: Sequence[APIRouter]
    metadata: MetaData
    migrations: Path
    hears: Sequence[str] = ()
    reactions: Reactions = field(default_factory=dict)
    remembers: Reactions = field(default_factory=dict)
    """The reactions that only keep what others said, in the `memory` tables: replayable."""
    memory: Sequence[str] = ()
    daily: Daily | None = None
    takes_passwords: bool = False
    """Requests are kept as fingerprints keyed by the installation's secret, which only this service knows."""
    background: Sequence[Callable[[Running], Awaitable[None]]] = ()
    """Further work of its own, each a coroutine that runs for ever."""


@dataclass
class Running:
    """A service at work: what its routes and background tasks share."""

    service: Service
    settings: Settings
    database: Database
    bus: Bus
    clock: Clock
    verifier: Verifier
    relay: Relay
    sealer: audit.Sealer
    consumer: Consumer
    days: Days
    metrics: Metrics
    works: Works
    neighbours: Callable[[], Awaitable[Mapping[str, str]]] | None = None
    """Tells in the answer of `/readyz`, without weighing in it, how others are that this service leads to."""

    @property
    def heard(self) -> Heard:
        return self.consumer.heard


@dataclass(frozen=True)
class World:
    """What the outside gives a service: settings, clock, bus, and the issuer's keys."""

    settings: Settings
    clock: Clock
    bus: Bus
    fetch_keys: Callable[[], Awaitable[dict[str, Any]]]
    metrics: Metrics = field(default_factory=Metrics)

    def database_url(self, service: str) -> str:
        return self.settings.database_url(service)


# ── what a step may ask for ──────────────────────────────────────────────────────────────────────


async def _session(request: Request) -> AsyncSession:
    return cast(AsyncSession, request.state.session)


async def _caller(request: Request) -> Principal:
    return cast(Principal, request.state.principal)


async def _running(request: Request) -> Running:
    return cast(Running, request.app.state.running)


async def _today(request: Request) -> date:
    return cast(Running, request.app.state.running).clock.today()


async def _heard(request: Request) -> Heard:
    return cast(Running, request.app.state.running).heard


Session = Annotated[AsyncSession, Depends(_session)]
Caller = Annotated[Principal, Depends(_caller)]
Here = Annotated[Running, Depends(_running)]
Today = Annotated[date, Depends(_today)]
News = Annotated[Heard, Depends(_heard)]

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Route(APIRoute):
    """A command (any method but GET) runs in one transaction; a question reads without one."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()
        operation = self.operation_id
        if operation is None:
            raise TypeError(f"{self.path} has no operation_id")

        async def answer(request: Request) -> Response:
            running = cast(Running, request.app.state.running)
            if isinstance(running.clock, SandboxClock):
                running.clock.hear(request.headers.get(SANDBOX_DAY))
            principal = await running.verifier.principal(request.headers.get("authorization"))
            request.state.principal = permit(principal, operation)
            if "GET" in (self.methods or ()):
                return await _question(running, request, handler)
            return await _command(running, request, handler, operation)

        return answer


def router(tag: str) -> APIRouter:
    """A step's router: every route of it is a `Route`."""
    return APIRouter(tags=[tag], route_class=Route, responses=refusals())


async def _question(running: Running, request: Request, handler: Handler) -> Response:
    """Read; a connection found dead (the database was restarted) is replaced and asked anew."""
    for attempt in range(1, TRIES + 1):
        try:
            async with running.database.reading() as session:
                request.state.session = session
                return await handler(request)
        except DBAPIError as error:
            if not error.connection_invalidated or attempt == TRIES:
                raise _given_up(error) from error
    raise AssertionError("unreachable")


async def _command(running: Running, request: Request, handler: Handler, operation: str) -> Response:
    """Run a command; when another commits first (unique key, deadlock), run it anew: the second run
    sees what the other did and answers by the rules."""
    principal: Principal = request.state.principal
    key = idempotency.key_of(request, principal)
    secret = running.settings.secret if running.service.takes_passwords else ""
    mark = await idempotency.fingerprint(request, secret) if key else b""
    for attempt in range(1, TRIES + 1):
        try:
            return await _once(running, request, handler, operation, key, mark)
        except DBAPIError as error:
            # A connection lost at the commit leaves its outcome open; only the key tells the second
            # run whether the first took effect.
            again = _lost_a_race(error) or (key is not None and error.connection_invalidated)
            if not again or attempt == TRIES:
                raise _given_up(error) from error
            running.metrics.reruns.labels(running.service.name, operation).inc()
            await asyncio.sleep(0.005 * attempt)
    raise AssertionError("unreachable")


async def _once(
    running: Running,
    request: Request,
    handler: Handler,
    operation: str,
    key: str | None,
    mark: bytes,
) -> Response:
    principal: Principal = request.state.principal
    async with running.database.transaction() as session:
        if key:
            stored = await idempotency.replay(session, principal.subject, key, operation, mark)
            if stored is not None:
                return stored
        request.state.session = session
        audit.begin(
            session,
            audit.Deed(
                operation=operation,
                at=running.clock.now(),
                subject=principal.subject,
                name=principal.name,
                roles=tuple(sorted(principal.roles)),
                party=principal.party,
                request_id=tracing.request_id.get(),
            ),
        )
        response = await handler(request)
        if key and response.status_code < 300:
            # A step whose answer shows a secret once says what is kept for repeats without it.
            kept = getattr(request.state, "answer_to_keep", response)
            idempotency.keep(session, principal.subject, key, operation, mark, kept)
    crashpoints.reach("after_commit")
    after_commit = getattr(request.state, "after_commit", None)
    if after_commit is not None:
        await after_commit()
    return response


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", "") or "")


def _lost_a_race(error: DBAPIError) -> bool:
    """Unique or exclusion violation, serialization failure, deadlock."""
    return _sqlstate(error) in ("23505", "23P01", "40001", "40P01")


def _given_up(error: DBAPIError) -> Exception:
    if _lost_a_race(error) or _sqlstate(error) == "55P03":
        words = Text("他人正在办理同一事项，请重发", "Others are changing the same thing; send again")
        return Conflict(words, headers={"Retry-After": "1"})
    return problems.database_away(error) or error


# ── the app ──────────────────────────────────────────────────────────────────────────────────────


def create_app(service: Service, world: World, *, openapi_url: str | None = "/openapi.json") -> FastAPI:
    """The service as an ASGI app; its lifespan starts and ends the background work."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with run(service, world) as running:
            app.state.running = running
            yield

    app = FastAPI(
        title=service.title,
        version="1",
        lifespan=lifespan,
        openapi_url=openapi_url,
        docs_url=None,
        redoc_url=None,
        telemetry=OWN_TELEMETRY,
    )
    problems.install(app)
    app.add_api_route("/healthz", healthz, include_in_schema=False)
    app.add_api_route("/readyz", readyz, include_in_schema=False)
    for step in service.steps:
        app.include_router(step)
    _complete_openapi(app)
    _watch(app, service, world)
    return app


def _watch(app: FastAPI, service: Service, world: World) -> None:
    """Measure, trace and log every request, outermost: around what answers when all else failed, too."""
    inner = app.build_middleware_stack

    def watched() -> ASGIApp:
        return Watch(inner(), name=service.name, seen=world.metrics.seen(service.name))

    app.build_middleware_stack = watched  # type: ignore[method-assign]


@asynccontextmanager
async def run(service: Service, world: World) -> AsyncIterator[Running]:
    """The service at work, with its relay, sealer, consumer and daily work, until the block ends."""
    database = Database(world.database_url(service.name), pool=world.settings.database_pool)
    days = Days(database, world.clock, service.daily and _in_its_trace(service.daily))
    reactions = _with_clock(_merged(service.remembers, service.reactions), days)
    consumer = Consumer(service.name, database, world.bus, service.hears, reactions)
    relay = Relay(database, world.bus)
    running = Running(
        service=service,
        settings=world.settings,
        database=database,
        bus=world.bus,
        clock=world.clock,
        verifier=Verifier(world.fetch_keys),
        relay=relay,
        sealer=audit.Sealer(database),
        consumer=consumer,
        days=days,
        metrics=world.metrics,
        works=_works(service, world, relay, consumer, days),
    )
    await days.restore()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        world.metrics.watch(running.works)
        stack.callback(world.metrics.unwatch, running.works)
        stack.push_async_callback(_end, _begin(running))
        yield running


def _works(service: Service, world: World, relay: Relay, consumer: Consumer, days: Days) -> Works:
    """What is measured of the service, and what must be able and moving for it to be ready."""
    drinking = consumer if service.hears else None
    moving = {"relay": relay} | ({"consumer": consumer} if service.hears else {})
    readiness = Readiness(relay.database, world.bus, moving)
    return Works(service.name, relay.database, relay, drinking, days, world.clock, readiness)


def _in_its_trace(daily: Daily) -> Daily:
    """What a day's work announces belongs together, and to nothing before it."""

    async def work(session: AsyncSession, day: date) -> None:
        with tracing.Part("daily", parent=tracing.ROOT):
            await daily(session, day)

    return work


Loop = Callable[[], Awaitable[None]]


def _begin(running: Running) -> list[asyncio.Task[None]]:
    """Start what works beside the requests, each in the name of the service."""
    loops: dict[str, Loop] = {
        "relay": running.relay.run,
        "sealer": running.sealer.run,
        "days": running.days.run,
    }
    if running.service.hears:
        loops["consumer"] = running.consumer.run
    for number, work in enumerate(running.service.background, 1):
        loops[f"background {number}"] = partial(work, running)
    failures = running.works.failures
    failures.update(dict.fromkeys(loops, 0))
    token = tracing.service.set(running.service.name)
    try:
        return [asyncio.create_task(_keep_running(name, loop, failures)) for name, loop in loops.items()]
    finally:
        tracing.service.reset(token)


async def _keep_running(name: str, loop: Loop, failures: Count[str]) -> None:
    """For ever: one that ends by an error begins anew after a pause, longer each time until it holds out."""
    pause = 1.0
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await loop()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody asked: a library let the cancellation of a task of its own out.
            failures[name] += 1
            log.warning("%s was cancelled from within and begins anew", name)
        except Exception:
            failures[name] += 1
            log.exception("%s ended and begins anew", name)
        if asyncio.get_running_loop().time() - began > 2 * LONGEST_PAUSE_SECONDS:
            pause = 1.0
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await asyncio.wait_for(task, 5)


def _merged(first: Reactions, then: Reactions) -> dict[type[Event], tuple[Reaction, ...]]:
    return {kind: (*first.get(kind, ()), *then.get(kind, ())) for kind in {**first, **then}}


def _with_clock(
    reactions: dict[type[Event], tuple[Reaction, ...]], days: Days
) -> dict[type[Event], tuple[Reaction, ...]]:
    if isinstance(days.clock, SandboxClock):
        reactions[SandboxClockMoved] = (days.clock_moved, *reactions.get(SandboxClockMoved, ()))
    return reactions


async def healthz() -> JSONResponse:
    """The process is alive."""
    return JSONResponse({"status": "alive"})


async def readyz(request: Request) -> JSONResponse:
    """Able to work: database and bus answer, relay and consumer move; with the business day done. The answer
    comes within the probes' limit."""
    running = cast(Running, request.app.state.running)
    (faults, _), neighbours = await asyncio.gather(running.works.readiness.look(), _neighbours(running))
    body = {
        "service": running.service.name,
        "status": "unready" if faults else "ready",
        "day": running.days.done.isoformat() if running.days.done else None,
        "faults": [f"{part}: {fault}" for part, fault in faults.items()],
        **neighbours,
    }
    return JSONResponse(body, 503 if faults else 200)


async def _neighbours(running: Running) -> dict[str, Any]:
    return {} if running.neighbours is None else {"upstreams": await running.neighbours()}


def _complete_openapi(app: FastAPI) -> None:
    """Problems instead of FastAPI's 422, the token scheme, and who may do what, on every operation."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = generate()
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        schemas["Problem"] = PROBLEM_SCHEMA
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
        table = permissions()
        for operations in document["paths"].values():
            for method, operation in operations.items():
                row = table.get(operation["operationId"], {})
                operation["security"] = [] if "anyone" in row else [{"token": []}]
                operation["x-permissions"] = dict(row)
                if method != "get" and not any(
                    p.get("name") == "Idempotency-Key" for p in operation.get("parameters", [])
                ):
                    operation.setdefault("parameters", []).append(IDEMPOTENCY_PARAMETER)
        app.openapi_schema = document
        return document

    app.openapi = openapi  # type: ignore[method-assign]


IDEMPOTENCY_PARAMETER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "One per piece of business, the same on retries; required from machine clients.",
    "schema": {"type": "string", "maxLength": 255},
    "example": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
}
