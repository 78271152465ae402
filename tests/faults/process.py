"""A process of the system, made to be killed and started again. It dies with the tests."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from deploy.kafka.broker import die_with_parent
from shared.measures.weave import ROOT

SERVICES = (sys.executable, "-m", "services")


class Process:
    """One command over all its lives; `said` is what the last one wrote, `last_words` the one before."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        heard: Callable[[str], None] = lambda line: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`heard` is told each line it says, `ended` the end of each life before anybody else."""
        self.command = tuple(command)
        self.environment = dict(environment)
        self.said: deque[str] = deque(maxlen=400)
        self.last_words = ""
        self.over = asyncio.Event()
        self.over.set()
        self._heard = heard
        self._ended = ended
        self._process: asyncio.subprocess.Process | None = None
        self._life: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and not self.over.is_set() else None

    @property
    def status(self) -> int | None:
        """How the last life ended: -9 when killed; None while it goes on."""
        return self._process.returncode if self._process else None

    async def start(self, **more: str) -> None:
        """Begin a life; `more` is added to its environment."""
        assert self.over.is_set(), "it is running"
        self.last_words = "".join(self.said)
        self.said.clear()
        self._process = await asyncio.create_subprocess_exec(
            *self.command,
            cwd=ROOT,
            env=self.environment | more,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=die_with_parent(),
            limit=1 << 20,
        )
        self.over.clear()
        self._life = asyncio.create_task(self._follow(self._process))

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.said.append(line.decode(errors="replace"))
            self._heard(self.said[-1])
        await process.wait()
        self._ended()
        self.over.set()

    def send(self, how: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(how)

    async def end(self, how: signal.Signals) -> int | None:
        """Send the signal and wait for the end; the exit status."""
        self.send(how)
        self.send(signal.SIGCONT)  # a paused process ends only when it goes on
        if self._life is not None:
            await self._life
        return self.status

    async def run(self, words: str = "") -> tuple[int, str]:
        """Run it once to its end, with these words on its standard input; its status and what it said."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            cwd=ROOT,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=die_with_parent(),
        )
        told, _ = await process.communicate(words.encode())
        assert process.returncode is not None
        return process.returncode, told.decode(errors="replace")
