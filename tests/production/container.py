"""A container as a process: what its image runs, started again when it ends (`restart: unless-stopped`)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress

import httpx

from deploy.kafka.configuration import free_port
from tests.faults.process import SERVICES, Process
from tests.ground import eventually
from tests.production.compose import Container
from tests.production.places import HERE, Places

READY_SECONDS = 60.0
GRACE_SECONDS = 20.0


def plain() -> dict[str, str]:
    """What a process needs of this machine; nothing that would be a setting."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "JAVA_HOME", "SSL_CERT_FILE", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}


class Replica:
    """One of our services in its container, on a port of its own."""

    def __init__(self, container: Container, places: Places, port: int) -> None:
        # Each has a host of its own there, and the same ports on it; here each has ports of its own.
        own = {"KECHUANG_HOST": HERE, "KECHUANG_PORT": str(port)}
        own |= {"KECHUANG_METRICS_HOST": HERE, "KECHUANG_METRICS_PORT": str(free_port())}
        environment = plain() | places.environment(container.environment) | own
        self.name = container.name
        self.port = port
        self.starts = 0
        self.statuses: list[int | None] = []
        """How each life ended."""
        self.process = Process((*SERVICES, *container.command), environment)
        self._again = container.restart == "unless-stopped"
        self._unwanted = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._unwanted.clear()
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        """Docker starts it again after 0.1 s, 0.2 s, … (here no longer than a second)."""
        pause = 0.1
        while not self._unwanted.is_set():
            await self.process.start()
            self.starts += 1
            if self._unwanted.is_set():  # stopped in the middle of the start
                self.process.send(signal.SIGTERM)
            await self.process.over.wait()
            self.statuses.append(self.process.status)
            if not self._again:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._unwanted.wait()
            pause = min(pause * 2, 1.0)

    def kill(self) -> None:
        self.process.send(signal.SIGKILL)

    async def killed(self) -> None:
        """kill -9, and wait until its next life has begun."""
        lives = self.starts
        self.kill()

        async def again() -> bool:
            return self.starts > lives

        await eventually(again, f"{self.name} started again", READY_SECONDS)

    async def stop(self) -> int | None:
        """Stop it as Docker does: SIGTERM, and SIGKILL when the grace is over; its exit status."""
        self._unwanted.set()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self.process.end(signal.SIGTERM)
        except TimeoutError:
            await self.process.end(signal.SIGKILL)
        if self._keeping is not None:
            await self._keeping
        return self.process.status

    async def readiness(self) -> Mapping[str, object]:
        """What /readyz says; nothing when it does not answer or is not ready."""
        return await self._told("/readyz")

    async def alive(self) -> None:
        """Wait until it answers at all."""

        async def told() -> bool:
            return bool(await self._told("/healthz"))

        await eventually(told, f"{self.name} alive", READY_SECONDS, 0.1)

    async def _told(self, path: str) -> Mapping[str, object]:
        async with httpx.AsyncClient(base_url=f"http://{HERE}:{self.port}", trust_env=False) as http:
            try:
                answer = await http.get(path, timeout=10)
            except httpx.TransportError:
                return {}
        return dict(answer.json()) if answer.is_success else {}

    async def ready(self) -> None:
        """Wait until it is."""

        async def told() -> bool:
            return bool(await self.readiness())

        try:
            await eventually(told, f"{self.name} ready", READY_SECONDS, 0.1)
        except AssertionError as error:
            said = self.process.last_words + "\n…\n" + "".join(self.process.said)
            error.add_note(f"{self.name}:{self.port}, ended {self.statuses}:\n{said}")
            raise
