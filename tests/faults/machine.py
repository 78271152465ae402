"""The whole system as one process, `python -m services run`, made to be killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from services.run import DATABASES
from shared.embedded_postgres import EmbeddedPostgres
from shared.measures.weave import ROOT
from shared.settings import Settings

START_SECONDS = 120.0
IT_IS_UP = "address"
"""The word of the greeting that `run` prints once everything answers, the demo data included."""


class DidNotStart(AssertionError):
    """The system ended, or did not answer in time, and nothing was to kill it; what it said."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machine:
    """The system on one data folder and one port, over all its lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.said: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._life: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def status(self) -> int | None:
        """How the last life ended: -9 when killed; None while it goes on."""
        return self._process.returncode if self._process else None

    async def start(self, crash_at: str = "") -> None:
        """Begin a life; with `crash_at` it kills itself at that crash point (`after_commit:3`)."""
        assert self._life is None or self._life.done(), "it is running"
        self._up.clear()
        self._over.clear()
        self.said.clear()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services", "run"),
            cwd=ROOT,
            env=self.environment | {"KECHUANG_CRASH_AT": crash_at},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._life = asyncio.create_task(self._follow(self._process))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the system and of the operator's tools on it."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("KECHUANG_")}
        own = {"DATA": str(self.folder), "PORT": str(self.port), "SANDBOX": "1"}
        return plain | {f"KECHUANG_{name}": value for name, value in own.items()}

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.said.append(line.decode(errors="replace"))
            if IT_IS_UP in self.said[-1]:
                self._up.set()
        await process.wait()
        self._up.clear()
        self._over.set()

    async def up(self) -> None:
        """Wait until it answers: in this life or, while it is dead or dies, in the next."""
        await self._up.wait()

    async def starts_by_itself(self) -> None:
        """Wait until this life answers. Raises DidNotStart when it ends first."""
        await self._first_of(self._up, self._over)
        if not self._up.is_set():
            raise DidNotStart(f"ended with {self.status}:\n" + "".join(self.said[-200:]))

    async def over(self, limit_seconds: float) -> None:
        """Wait for the end of this life. Raises TimeoutError."""
        async with asyncio.timeout(limit_seconds):
            await self._over.wait()

    async def _first_of(self, *events: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            done, _ = await asyncio.wait(waits, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not done:
            raise DidNotStart(f"silent for {START_SECONDS:.0f} s:\n" + "".join(self.said[-200:]))

    def kill(self) -> None:
        """kill -9, wherever it is."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> int:
        """End it as Ctrl-C does; the exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        return await self._ended()

    async def destroy(self) -> None:
        """Whatever happened, leave no process behind."""
        self.kill()
        if self._process is not None:
            await self._ended()

    async def _ended(self) -> int:
        assert self._process is not None
        assert self._life is not None
        await self._life
        assert self._process.returncode is not None
        return self._process.returncode

    async def tool(self, *arguments: str) -> tuple[int, str]:
        """Run an operator's tool beside the running system; its exit status and what it said."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services", *arguments),
            cwd=ROOT,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, told.decode(errors="replace")

    def settings(self) -> Settings:
        """Settings that reach the databases of the running system from outside."""
        server = EmbeddedPostgres(self.folder)
        server.attach()
        urls = {f"{name}_database_url": server.url(name) for name in DATABASES}
        return Settings.model_validate({"data": self.folder, "sandbox": True, **urls})
