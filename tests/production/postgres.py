"""The file's PostgreSQL: its command line, its `pg_hba.conf`, its superuser's password, and the container
that makes the roles. The programs are the embedded server's.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shared.embedded_postgres import EmbeddedPostgres
from shared.postgres_folder import programs_of_wheel
from tests.faults.process import Process
from tests.ground import execute
from tests.production.compose import Container
from tests.production.container import plain
from tests.production.places import HERE, Places


class Postgres:
    """The server. All is done in one thread that lives as long as the server is wanted: it dies with it."""

    def __init__(self, container: Container, places: Places) -> None:
        self.places = places
        self.password = container.environment["POSTGRES_PASSWORD"]
        self._thread = ThreadPoolExecutor(1, "postgres")
        self._server = EmbeddedPostgres(places.folder)
        self._settings = dict(
            word.removeprefix("-c").split("=", 1)
            for word in map(places.here, container.command)
            if word.startswith("-c")
        )
        backup = places.folder / "backup"
        backup.mkdir()
        backup.chmod(0o777)
        # The container's environment is its own; this server's is ours.
        self._settings["archive_command"] = f"BACKUP_FOLDER={backup} {self._settings['archive_command']}"
        self._settings |= {"listen_addresses": HERE, "port": str(places.postgres)}

    async def make(self) -> None:
        """The first start: the cluster is made, and the superuser given its password on the socket alone."""
        await self._do(self._server.start)
        await execute(self._server.url("postgres"), f"ALTER ROLE postgres PASSWORD '{self.password}'")
        await self._do(self._server.stop)
        self._server.settings = {**self._server.settings, **self._settings}

    async def start(self) -> None:
        await self._do(self._server.start)

    async def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Fast (SIGINT), or immediate (SIGQUIT): then the next start recovers."""
        pid = self._server.pid
        if pid is not None:
            os.kill(pid, how)
        await self._do(self._server.stop)

    async def restart(self, how: signal.Signals) -> None:
        await self.stop(how)
        await self.start()

    async def close(self) -> None:
        await self.stop()
        self._thread.shutdown()

    def url(self, database: str, role: str, password: str) -> str:
        return f"postgresql+asyncpg://{role}:{password}@{HERE}:{self.places.postgres}/{database}"

    async def _do(self, work: Callable[[], Any]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)


async def make_roles(container: Container, places: Places) -> str:
    """Run the container that makes roles and databases; what it said. Raises AssertionError."""
    environment = plain() | places.environment(container.environment)
    environment["PATH"] = f"{programs_of_wheel()}:{environment['PATH']}"
    status, told = await Process(tuple(map(places.here, container.entrypoint)), environment).run()
    assert status == 0, told
    return told
