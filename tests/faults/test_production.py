"""Chaos in the production form: services killed, the broker killed, hung and away, PostgreSQL restarted and
replicas coming and going, while clients file and repay through the gateway. Afterwards every command that was
accepted had its effect once, in every service that should know it (`reckoning.py`).
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from deploy.kafka.configuration import free_port
from tests.conftest import open_folder
from tests.faults import reckoning
from tests.faults.load import Load, load_on
from tests.faults.stories import Stories, under_load
from tests.kafka import require_kafka
from tests.production.ground import NAMES, Production, production

pytestmark = pytest.mark.kafka
PATIENCE_SECONDS = 400.0
"""How long clients go on asking: more than the broker is away, and what hears of it after."""
Misfortune = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class Chaos:
    """What may happen to the form, each at moments of chance."""

    form: Production
    random: Random
    peace: float
    """Seconds from the end of one misfortune to the next, at most."""

    async def all(self, misfortunes: list[Misfortune], at_work: asyncio.Event) -> None:
        """Each of these, in an order of chance, once everybody is at work; then everything comes back."""
        await at_work.wait()
        began = time.monotonic()
        self.random.shuffle(misfortunes)
        for misfortune in misfortunes:
            await self._for(self.random.uniform(0, self.peace))
            print(f"{time.monotonic() - began:6.1f} s  {misfortune.__name__}")
            await misfortune()
        await self.form.all_ready()
        print(f"{time.monotonic() - began:6.1f} s  everybody is ready")

    def kill(self, name: str) -> Misfortune:
        async def killed() -> None:
            await self.random.choice(self.form.replicas[name]).killed()

        killed.__name__ = f"{name} killed"
        return killed

    def broker_away(self, seconds: float) -> Misfortune:
        """Killed, and started again only after a while. Meanwhile one service dies, and is there again
        without a broker: commands need none."""

        async def away() -> None:
            await self.form.kafka.kill()
            hurt = self.random.choice(self.form.everybody)
            await hurt.killed()
            await hurt.alive()
            await self._for(seconds)
            await self.form.kafka.start()

        away.__name__ = f"the broker killed, away for {seconds} s"
        return away

    def broker_hangs(self, seconds: float) -> Misfortune:
        """It answers nothing, and no connection breaks."""

        async def hangs() -> None:
            self.form.kafka.pause()
            await self._for(seconds)
            self.form.kafka.resume()

        hangs.__name__ = f"the broker hangs for {seconds} s"
        return hangs

    def postgres(self, how: signal.Signals) -> Misfortune:
        async def restarted() -> None:
            await self.form.postgres.restart(how)

        restarted.__name__ = f"PostgreSQL restarted by {how.name}"
        return restarted

    async def replica_comes_and_goes(self) -> None:
        """One more of lending joins, takes its part, and leaves: in order, or not."""
        balancer, replicas = self.form.balancer, self.form.replicas["lending"]
        more = self.form.replica("lending", free_port())
        await more.start()
        await more.ready()
        replicas.append(more)
        balancer.ports.append(more.port)
        await self._for(self.random.uniform(0, self.peace))
        balancer.ports.remove(more.port)
        replicas.remove(more)
        if self.random.random() < 0.5:
            more.kill()
        await more.stop()

    async def _for(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.Event().wait()


async def survive(
    seed: int, misfortunes: Callable[[Chaos], list[Misfortune]], *, peace: float, loans_to_claim: int
) -> Load:
    """Live through them under load, then reckon up."""
    require_kafka()
    with open_folder() as folder:
        async with production(folder) as form:
            more = {"patience_seconds": PATIENCE_SECONDS, "again_seconds": 0.1, "pace_seconds": 0.2}
            async with load_on(form, form.url, seed, **more) as load:
                chaos, stories = Chaos(form, Random(seed), peace), Stories(load)
                try:
                    deaths = chaos.all(misfortunes(chaos), stories.begun)
                    await under_load(stories, loans_to_claim, deaths)
                    print(f"{load.sent} requests, {load.cut} cut off, {len(load.accepted)} commands accepted")
                    began = time.monotonic()
                    await reckoning.reckon(form.settings(), load, form.tool)
                    print(f"{time.monotonic() - began:6.1f} s  reckoned up")
                except BaseException:
                    print(form.words())
                    raise
            await form.all_ready()
            for replica in form.everybody:
                assert await replica.stop() == 0, replica.name
    return load


async def test_after_a_kill_of_each_and_a_broker_away_everything_happened_once(seed: int) -> None:
    def misfortunes(chaos: Chaos) -> list[Misfortune]:
        return [
            *(chaos.kill(name) for name in NAMES),
            chaos.broker_away(3),
            chaos.postgres(signal.SIGQUIT),
            chaos.replica_comes_and_goes,
        ]

    load = await survive(seed, misfortunes, peace=0.5, loans_to_claim=1)
    assert load.cut > 0, "nobody was at work"


@pytest.mark.large
async def test_after_ten_kills_of_each_and_two_minutes_without_a_broker_everything_happened_once(
    seed: int,
) -> None:
    def misfortunes(chaos: Chaos) -> list[Misfortune]:
        return [
            *(chaos.kill(name) for name in NAMES for _ in range(10)),
            *(chaos.broker_away(0) for _ in range(3)),
            chaos.broker_away(120),
            chaos.broker_hangs(25),
            *(chaos.postgres(how) for how in (signal.SIGINT, signal.SIGQUIT) for _ in range(2)),
            *(chaos.replica_comes_and_goes for _ in range(3)),
        ]

    load = await survive(seed, misfortunes, peace=2.0, loans_to_claim=20)
    assert load.cut > 0, "nobody was at work"
