"""The whole system as one process, `python -m services run`, made to be killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from deploy.kafka.configuration import free_port
from services.run import DATABASES
from shared.embedded_postgres import EmbeddedPostgres
from shared.settings import Settings
from tests.faults.process import SERVICES, Process

START_SECONDS = 120.0
IT_IS_UP = "address"
"""The word of the greeting that `run` prints once everything answers, the demo data included."""


class DidNotStart(AssertionError):
    """The system ended, or did not answer in time, and nothing was to kill it; what it said."""


class Machine:
    """The system on one data folder and one port, over all its lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._up = asyncio.Event()
        self._process = Process((*SERVICES, "run"), self.environment, self._hear, self._up.clear)

    @property
    def said(self) -> str:
        """What the last life wrote."""
        return "".join(self._process.said)

    @property
    def status(self) -> int | None:
        """How the last life ended: -9 when killed; None while it goes on."""
        return self._process.status

    async def start(self, crash_at: str = "") -> None:
        """Begin a life; with `crash_at` it kills itself at that crash point (`after_commit:3`)."""
        await self._process.start(KECHUANG_CRASH_AT=crash_at)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the system and of the operator's tools on it."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("KECHUANG_")}
        own = {"DATA": str(self.folder), "PORT": str(self.port), "SANDBOX": "1"}
        return plain | {f"KECHUANG_{name}": value for name, value in own.items()}

    def _hear(self, line: str) -> None:
        if IT_IS_UP in line:
            self._up.set()

    async def up(self) -> None:
        """Wait until it answers: in this life or, while it is dead or dies, in the next."""
        await self._up.wait()

    async def starts_by_itself(self) -> None:
        """Wait until this life answers. Raises DidNotStart when it ends first."""
        await self._first_of(self._up, self._process.over)
        if not self._up.is_set():
            raise DidNotStart(f"ended with {self.status}:\n{self.said}")

    async def over(self, limit_seconds: float) -> None:
        """Wait for the end of this life. Raises TimeoutError."""
        async with asyncio.timeout(limit_seconds):
            await self._process.over.wait()

    async def _first_of(self, *events: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            done, _ = await asyncio.wait(waits, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not done:
            raise DidNotStart(f"silent for {START_SECONDS:.0f} s:\n{self.said}")

    def kill(self) -> None:
        """kill -9, wherever it is."""
        self._process.send(signal.SIGKILL)

    async def stop(self) -> int | None:
        """End it as Ctrl-C does; the exit status."""
        return await self._process.end(signal.SIGINT)

    async def destroy(self) -> None:
        """Whatever happened, leave no process behind."""
        await self._process.end(signal.SIGKILL)

    async def tool(self, *arguments: str) -> tuple[int, str]:
        """Run an operator's tool beside the running system; its exit status and what it said."""
        return await Process((*SERVICES, *arguments), self.environment).run()

    def settings(self) -> Settings:
        """Settings that reach the databases of the running system from outside."""
        server = EmbeddedPostgres(self.folder)
        server.attach()
        urls = {f"{name}_database_url": server.url(name) for name in DATABASES}
        return Settings.model_validate({"data": self.folder, "sandbox": True, **urls})
