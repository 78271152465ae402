"""kill -9 at every crash point, and at random moments: nothing accepted is lost, nothing happens twice.

The system runs as a process of its own on a data folder; clients work against it over HTTP while it dies
and starts again by itself on the same folder. Then everything is reckoned up (`reckoning.py`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import get_args

import httpx
import pytest

from shared.crashpoints import Point
from tests.faults import reckoning
from tests.faults.load import Load
from tests.faults.machine import Machine
from tests.faults.stories import Stories

KILLED = -9
NTH = {"after_commit": 25, "after_publish": 6, "before_inbox": 9, "after_effect": 9, "before_offset": 9}
"""At which reaching of its crash point the system dies: in the middle of the load."""
DEATH_SECONDS = 60.0
KILLS = 200
IN_A_START = 0.15
"""The share of random kills that come at any moment of a start; the others come under load."""
LONGEST_START, LONGEST_LIFE = 4.0, 1.5
"""Seconds within which a random kill comes, after the start and after the first answer."""


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    await machine.destroy()


@pytest.fixture
def seed() -> int:
    """The seed of this run: KECHUANG_SEED, or a new one; printed, so that a failure can be tried again."""
    seed = int(os.environ.get("KECHUANG_SEED") or Random().randrange(1_000_000))
    print(f"KECHUANG_SEED={seed}")
    return seed


@asynccontextmanager
async def load_on(machine: Machine, seed: int) -> AsyncIterator[Load]:
    async with httpx.AsyncClient(base_url=machine.url, timeout=60, trust_env=False) as http:
        yield Load(machine, http, Random(seed))


async def again_and_again(story: Callable[[], Awaitable[None]], enough: asyncio.Event) -> None:
    """Tell a story anew until it is enough; the last one is told to its end."""
    while not enough.is_set():
        await story()


async def under_load(stories: Stories, deaths: Awaitable[None]) -> None:
    """Die while everybody works; afterwards what was begun is brought to its end."""
    enough = asyncio.Event()

    async def claims() -> None:
        while stories.to_claim:
            await stories.claim()

    async with asyncio.TaskGroup() as group:
        for story in (stories.money, stories.money, stories.loan, stories.loan):
            group.create_task(again_and_again(story, enough))
        group.create_task(claims())
        await deaths
        enough.set()


async def reckon(machine: Machine, load: Load) -> None:
    """The city is whole: asked of the running system, by the operator's tools, and at its orderly end."""
    settings = machine.settings()
    async with reckoning.databases(settings) as here:
        await reckoning.all_is_well(here, load)
    (status, told), _ = await asyncio.gather(
        machine.tool("check"), reckoning.memories_are_what_the_log_says(settings)
    )
    assert status == 0, told
    assert await machine.stop() == 0


async def test_killed_at_every_crash_point_it_starts_by_itself_and_everything_happened_once(
    machine: Machine, seed: int
) -> None:
    assert set(NTH) == set(get_args(Point)), "a crash point is not tried"

    async def die_at_each() -> None:
        for point, nth in NTH.items():
            machine.kill()  # the start on, or the orderly life before: into the next armed one
            await machine.over(DEATH_SECONDS)
            await machine.start(f"{point}:{nth}")
            await machine.over(DEATH_SECONDS)
            assert machine.status == KILLED, "".join(machine.said)
        await machine.start()
        await machine.starts_by_itself()

    await machine.start("after_commit:12")  # in the middle of preparing the demo data
    await machine.over(DEATH_SECONDS)
    assert machine.status == KILLED, "".join(machine.said)
    await machine.start()
    await machine.starts_by_itself()
    async with load_on(machine, seed) as load:
        stories = Stories(load)
        await stories.begin(loans_to_claim=6)
        await under_load(stories, die_at_each())
        assert load.cut >= len(NTH), "nobody was at work when it died"
        await reckon(machine, load)


@pytest.mark.large
async def test_killed_two_hundred_times_at_random_moments_everything_happened_once(
    machine: Machine, seed: int
) -> None:
    random = Random(seed)

    async def die_at_random() -> None:
        for nth in count(1):
            early = random.random() < IN_A_START
            if not early and not await machine.up_or_over():
                raise AssertionError("it did not start by itself:\n" + "".join(machine.said))
            longest = LONGEST_START if early else LONGEST_LIFE
            asyncio.get_running_loop().call_later(random.uniform(0, longest), machine.kill)
            await machine.over(DEATH_SECONDS)
            assert machine.status == KILLED, "".join(machine.said)
            await machine.start()
            if nth == KILLS:
                break
        await machine.starts_by_itself()

    await machine.start()
    await machine.starts_by_itself()
    async with load_on(machine, seed) as load:
        stories = Stories(load)
        await stories.begin(loans_to_claim=40)
        await under_load(stories, die_at_random())
        print(f"{load.sent} requests, {load.cut} cut off, {len(load.accepted)} commands accepted")
        await reckon(machine, load)
