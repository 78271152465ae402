"""Running the system: all in one process on an embedded PostgreSQL, or one service by itself."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from services import city, demo_data
from services.gateway import first_account
from services.gateway.app import create as create_gateway
from services.gateway.remote import Remote
from services.patience import Patience
from shared import logs, tracing
from shared.bus import Bus
from shared.clock import Clock, SandboxClock, SystemClock
from shared.embedded_postgres import EmbeddedPostgres, FolderInUse, StartError
from shared.metrics import Metrics
from shared.migrate import migrate
from shared.postgres_bus import PostgresBus
from shared.problems import Unavailable
from shared.rules import Text
from shared.service import World, create_app
from shared.settings import Settings

log = logging.getLogger("kechuang.run")
DATABASES = ("roster", "lending", "compensation", "gateway", "bus")
SEEDED = "demo-accounts.txt"
BUS_SECONDS, AGAIN_SECONDS = 5.0, 2.0
"""How long a start waits for the bus, and from one try to begin it to the next."""
SECRET = "secret"  # noqa: S105  (the file's name)


class PortInUse(StartError):
    """Somebody else listens where we should."""


def everything(settings: Settings) -> int:
    """The four services in one process until Ctrl-C; the exit status."""
    _quiet(settings)
    _ports_must_be_free(settings)
    with _databases(settings) as complete, suppress(KeyboardInterrupt):
        _loop(_serve_everything(complete))
    return 0


async def _serve_everything(settings: Settings) -> None:
    await city.migrate_all(settings)
    if settings.sandbox:
        await must_be_a_sandbox(settings)
    clock = _clock(settings)
    async with _bus(settings) as bus, city.city(settings, clock, bus) as running:
        server = _server(settings, running.gateway)
        async with metrics_served(settings, running.gateway.state.running.metrics):
            serving = await _started(server)
            if settings.sandbox and not serving.done():
                await _seed_once(running.gateway, settings)
            if not serving.done():
                print(_welcome(settings), flush=True)
            await serving


async def must_be_a_sandbox(settings: Settings) -> None:
    """A live installation never becomes a sandbox: its clock could be moved, and everybody knows the demo
    accounts' password. Raises StartError."""
    marker = settings.data / SEEDED
    begun = marker.with_suffix(".new")
    if marker.exists() or begun.exists():
        return
    if await first_account.made(settings):
        raise StartError(
            Text(
                f"{settings.data} 中是正式数据，不能作为沙箱启动：请设置 KECHUANG_SANDBOX=0",
                f"{settings.data} holds live data, which is no sandbox: start it with KECHUANG_SANDBOX=0",
            )
        )
    begun.parent.mkdir(parents=True, exist_ok=True)
    begun.touch()


async def _seed_once(gateway: FastAPI, settings: Settings) -> None:
    """The demo city, on the first start; the marker is written when it is whole."""
    marker = settings.data / SEEDED
    if marker.exists():
        return
    print("首次启动：正在准备演示数据…  First start: preparing the demo data …", flush=True)
    await demo_data.seed(gateway, settings)
    half = marker.with_suffix(".new")
    half.write_text(demo_data.accounts(), "utf-8")
    half.rename(marker)


def one(settings: Settings, name: str) -> int:
    """One service by itself: its database, its bus, and the gateway's keys by URL."""
    _quiet(settings)
    _ports_must_be_free(settings)
    for database in (name, *(["bus"] if settings.bus == "postgres" else [])):
        if not settings.database_url(database):
            variable = f"KECHUANG_{database.upper()}_DATABASE_URL"
            raise StartError(Text(f"请设置 {variable}", f"set {variable}"))
    if name == "gateway" and not settings.secret:
        raise StartError(Text("请设置 KECHUANG_SECRET", "set KECHUANG_SECRET: it encrypts the signing keys"))
    with suppress(KeyboardInterrupt):
        _loop(_serve_one(settings, name))
    return 0


async def _serve_one(settings: Settings, name: str) -> None:
    async with _bus(settings) as bus, httpx.AsyncClient(base_url=settings.gateway_url, timeout=5) as keys:

        async def fetch_keys() -> dict[str, object]:
            try:
                answer = (await keys.get("/.well-known/jwks.json")).raise_for_status()
            except httpx.HTTPError as error:
                words = Text("暂不能核对访问令牌，请稍后重发", "Tokens cannot be verified yet; send again")
                raise Unavailable(words, headers={"Retry-After": "2"}) from error
            return dict(answer.json())

        world = World(settings, _clock(settings), bus, fetch_keys)
        if name == "gateway":
            upstreams = {
                service: Remote(getattr(settings, f"{service}_url"))
                for service in ("roster", "lending", "compensation")
            }
            app = create_gateway(world, upstreams)
        else:
            app = create_app(city.SERVICES[name], world)
        async with app.router.lifespan_context(app), metrics_served(settings, world.metrics):
            await _server(settings, app).serve()


def migrations(settings: Settings, name: str | None) -> int:
    """Bring all databases, or one service's, to the newest schema."""
    names = [name] if name else list(city.SERVICES)
    with _databases(settings, names) as complete:
        for one_name in names:
            service = city.SERVICES[one_name]
            asyncio.run(migrate(complete.database_url(one_name), one_name, service.migrations))
            print(f"{one_name}: up to date")
    return 0


def with_databases(
    settings: Settings, work: Callable[[Settings], Awaitable[int]], names: Sequence[str] = DATABASES
) -> int:
    """Run an operator's tool on these databases, whether the system is running or not."""
    _quiet(settings)

    async def go(complete: Settings) -> int:
        return await work(complete)

    with _databases(settings, names, attach=True) as complete:
        return asyncio.run(go(complete))


# ── parts ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _databases(
    settings: Settings, names: Sequence[str] = DATABASES, *, attach: bool = False
) -> Iterator[Settings]:
    """The settings with every database URL: those given, or an embedded server's in `data`."""
    names = [name for name in names if name != "bus" or settings.bus == "postgres"]
    if all(settings.database_url(name) for name in names):
        yield settings
        return
    server = EmbeddedPostgres(settings.data)
    try:
        server.start()
    except FolderInUse:
        if not attach:
            raise
        server.attach()
    try:
        server.ensure_databases(DATABASES)
        urls = {f"{n}_database_url": settings.database_url(n) or server.url(n) for n in DATABASES}
        yield _with_secret(settings.model_copy(update=urls))
    finally:
        server.stop()


def _with_secret(settings: Settings) -> Settings:
    """The installation's secret: the one set, or one made once and kept in the data folder."""
    if settings.secret:
        return settings
    file = settings.data / SECRET
    if not file.exists():
        keep_secret(file, secrets.token_urlsafe(32))
    return settings.model_copy(update={"secret": file.read_text("utf-8")})


def keep_secret(file: Path, secret: str) -> None:
    """Write the installation's secret, whole or not at all, readable by its owner alone."""
    half = file.with_suffix(".new")
    half.touch(mode=0o600)
    half.write_text(secret, "utf-8")
    half.rename(file)


@asynccontextmanager
async def _bus(settings: Settings) -> AsyncIterator[Bus]:
    """The bus at work. A Kafka that is away keeps no service from starting: commands need none, their facts
    wait in the outbox. Its topics are made as soon as it is back."""
    bus = make_bus(settings)
    beginning = asyncio.create_task(_begun(bus) if settings.bus == "kafka" else bus.start())
    try:
        if settings.bus == "kafka":
            await asyncio.wait([beginning], timeout=BUS_SECONDS)
        else:
            await beginning
        yield bus
    finally:
        beginning.cancel()
        await bus.close()


async def _begun(bus: Bus) -> None:
    """Begin, again and again until the bus is there."""
    while True:
        try:
            return await bus.start()
        except Exception as error:  # noqa: BLE001  (whatever it is: readiness tells it, and it is tried again)
            log.warning("the bus is away: %r", error)
        await asyncio.sleep(AGAIN_SECONDS)


def make_bus(settings: Settings) -> Bus:
    """The bus the settings name; not started yet."""
    if settings.bus == "kafka":
        from shared.kafka_bus import KafkaBus

        return KafkaBus.by(settings)
    return PostgresBus(settings.database_url("bus"))


def _clock(settings: Settings) -> Clock:
    return SandboxClock() if settings.sandbox else SystemClock()


def settle_memory() -> None:
    """What is loaded by now stays: the collector looks only at what requests leave behind, and seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _server(settings: Settings, app: FastAPI) -> uvicorn.Server:
    settle_memory()
    return uvicorn.Server(
        _listening(app, settings.host, settings.port, timeout_graceful_shutdown=5, backlog=512, http=Patience)
    )


def _listening(app: ASGIApp, host: str, port: int, **more: Any) -> uvicorn.Config:
    """Who listens says nothing of itself, and logs as we do; lifespans are ours."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        **more,
    )


class _Beside(uvicorn.Server):
    """A second server of the process: its signals are the first one's to hear."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def metrics_served(settings: Settings, metrics: Metrics) -> AsyncIterator[None]:
    """`GET /metrics` on a port of its own, which nobody outside reaches, if one is set."""
    if not settings.metrics_port:
        yield
        return
    where = settings.metrics_host, settings.metrics_port
    server = _Beside(_listening(metrics.app(), *where, timeout_graceful_shutdown=1))
    serving = await _started(server)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def _started(server: uvicorn.Server) -> asyncio.Task[None]:
    """Begin to serve; returns when it listens, or has ended."""
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    return serving


def _loop(main: Awaitable[None]) -> None:
    """Run until it is done or stopped. SIGTERM (how containers are stopped) ends it as Ctrl-C does, in
    order: left to its default it would end the process where it stands, and a consumer that does not
    take its leave keeps its partitions from its siblings until the broker gives it up."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))

    async def go() -> None:
        if tracing.asked_for():
            tracing.turn_on()
        try:
            await main
        finally:
            await asyncio.to_thread(tracing.turn_off)

    if sys.platform == "win32":
        asyncio.run(go())
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(go())


def _ports_must_be_free(settings: Settings) -> None:
    _must_be_free(settings.host, settings.port, "KECHUANG_PORT")
    if settings.metrics_port:
        _must_be_free(settings.metrics_host, settings.metrics_port, "KECHUANG_METRICS_PORT")


def _must_be_free(host: str, port: int, variable: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            where = f"{host}:{port}"
            raise PortInUse(
                Text(
                    f"{where} 不能监听（{error.strerror}）：请停止占用它的程序，或用 {variable} 另选端口",
                    f"cannot listen on {where} ({error.strerror}): stop what uses it, or choose another "
                    f"port by {variable}",
                )
            ) from error


def _quiet(settings: Settings) -> None:
    logs.set_up(settings.log_format, settings.log_level)
    os.environ.setdefault("TZ", "UTC")


def _welcome(settings: Settings) -> str:
    """What `make run` prints: the address, the accounts, where the data lies."""
    where = f"http://{settings.host}:{settings.port}"
    accounts = _read(settings.data / SEEDED)
    return "\n".join(
        (
            "",
            "科创贷 Kechuang",
            f"  网址 address   {where}",
            f"  接口文档 docs  {where}/docs",
            f"  数据 data      {settings.data.absolute()}",
            *(["", accounts.rstrip()] if accounts else []),
            "",
            "  make demo 讲述一笔贷款的全程  tells one loan's whole journey",
            "  Ctrl-C 停止  stops",
        )
    )


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
