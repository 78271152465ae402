"""What every bench stands on: a durable PostgreSQL, services on real TCP ports, load from beside."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import uvicorn
from fastapi import FastAPI

from services.run import settle_memory
from shared.database import plain_url
from shared.embedded_postgres import EmbeddedPostgres
from tests.ground import Databases

FOLDER = Path("data")
CONNECTIONS = 64
SETTLE = ("VACUUM ANALYZE", "CHECKPOINT")
"""Puts a filled database at rest, so that its own housekeeping is not measured."""


@contextmanager
def durable_databases() -> Iterator[Databases]:
    """A server as an installation has it (every commit reaches the disk), in a folder of its own that
    is gone afterwards."""
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=FOLDER))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder)
    try:
        with server:
            yield Databases(server)
    finally:
        shutil.rmtree(server.home, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[int]:
    """The app on a free TCP port of this machine, served as an installation serves it; the port."""
    config = uvicorn.Config(
        app, port=0, http="httptools", lifespan="off", access_log=False, log_level="warning", backlog=512
    )
    settle_memory()
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await serving


@dataclass(frozen=True)
class Rate:
    """How many requests were answered in how many seconds."""

    requests: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class Failed(Exception):
    """A request was answered otherwise than it should: nothing was measured."""


async def load(
    port: int, requests: Sequence[bytes], *, repeat: int = 1, connections: int = CONNECTIONS
) -> Rate:
    """Send the requests (all of them `repeat` times) from a process of its own. Raises Failed."""
    with tempfile.NamedTemporaryFile(prefix="requests-", dir=FOLDER) as file:
        file.write(json.dumps([r.decode() for r in requests], ensure_ascii=False).encode())
        file.flush()
        arguments = [str(port), str(connections), str(repeat), file.name]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.load", *arguments, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await child.communicate()
    told = json.loads(said)
    wrong = {status: n for status, n in told["statuses"].items() if int(status) >= 300}
    if wrong:
        raise Failed(f"{wrong}: {told['sample'][:500]}")
    return Rate(told["requests"], told["seconds"])


async def execute(url: str, *statements: str) -> None:
    """Run statements, each by itself, on a connection of its own."""
    connection = await asyncpg.connect(plain_url(url))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
