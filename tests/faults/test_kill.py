"""kill -9 at every crash point, and at random moments: nothing accepted is lost, nothing happens twice.

The system runs as a process of its own on a data folder; clients work against it over HTTP while it dies
and starts again by itself on the same folder. Then everything is reckoned up (`reckoning.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import get_args

import pytest

from shared.crashpoints import Point
from tests.faults import reckoning
from tests.faults.load import Load, load_on
from tests.faults.machine import Machine
from tests.faults.stories import Stories, under_load

KILLED = -9
DEATHS = (
    "after_commit:12",  # in the middle of preparing the demo data
    "after_commit:85",  # under load, like all that follow
    "after_publish:6",
    "before_inbox:9",
    "after_effect:9",
    "before_offset:9",
)
"""Of which crash point each life dies, and at which reaching of it."""
DEATH_SECONDS = 120.0
KILLS = 200
IN_A_START = 0.15
"""The share of random kills that come at any moment of a start; the others come under load."""
LONGEST_START, LONGEST_LIFE = 4.0, 1.5
"""Seconds within which a random kill comes, after the start and after the first answer."""


@pytest.fixture
async def machine(data_folder: Path) -> AsyncIterator[Machine]:
    machine = Machine(data_folder)
    yield machine
    await machine.destroy()


async def reckon(machine: Machine, load: Load) -> None:
    await reckoning.reckon(machine.settings(), load, machine.tool)
    assert await machine.stop() == 0


async def test_killed_at_every_crash_point_it_starts_by_itself_and_everything_happened_once(
    machine: Machine, seed: int
) -> None:
    assert {death.split(":")[0] for death in DEATHS} == set(get_args(Point)), "a crash point is not tried"

    async def die_of_each() -> None:
        for after in (*DEATHS[1:], ""):
            await machine.over(DEATH_SECONDS)
            assert machine.status == KILLED, machine.said
            await machine.start(after)
        await machine.starts_by_itself()

    await machine.start(DEATHS[0])
    async with load_on(machine, machine.url, seed) as load:
        await under_load(Stories(load), 6, die_of_each())
        assert load.cut >= len(DEATHS) - 1, "nobody was at work when it died"
        await reckon(machine, load)


@pytest.mark.large
async def test_killed_two_hundred_times_at_random_moments_everything_happened_once(
    machine: Machine, seed: int
) -> None:
    random = Random(seed)

    async def die_at_random() -> None:
        for _ in range(KILLS):
            early = random.random() < IN_A_START
            if not early:
                await machine.starts_by_itself()
            moment = random.uniform(0, LONGEST_START if early else LONGEST_LIFE)
            asyncio.get_running_loop().call_later(moment, machine.kill)
            await machine.over(DEATH_SECONDS)
            assert machine.status == KILLED, machine.said
            await machine.start()
        await machine.starts_by_itself()

    await machine.start()
    async with load_on(machine, machine.url, seed) as load:
        await under_load(Stories(load), 40, die_at_random())
        print(f"{load.sent} requests, {load.cut} cut off, {len(load.accepted)} commands accepted")
        await reckon(machine, load)
