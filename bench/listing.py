"""The list of an institution's newest 50 loans over HTTP against pgbench running the same SQL."""

from __future__ import annotations

import httpx

from bench import pgbench
from bench.ground import load, served
from bench.town import Town, lending_town
from bench.turns import in_turn
from bench.verdict import Line
from tests.ground import Databases

REPEAT = 100
FLOOR_TIMES = 60
TARGET = 0.05


async def measure(databases: Databases, *, large: bool) -> list[Line]:
    """Lists per second at 64 connections, as a share of pgbench's."""
    async with lending_town(databases, 10_000, 1) as town, served(town.it.app) as port:
        script, asked = await floor_of(town), town.lists()
        turns = await in_turn(
            lambda: load(port, asked, repeat=REPEAT),
            lambda: pgbench.rate(town.url, script, FLOOR_TIMES),
        )
    figures = f"{turns.one_per_second:.0f}/s against {turns.other_per_second:.0f} tps"
    return [Line("list of 50 / pgbench", turns.ratio, TARGET, figures)]


async def floor_of(town: Town) -> pgbench.Script:
    """Ask for one list, and make its SQL a script."""
    transport = httpx.ASGITransport(town.it.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://bench") as client:
        with pgbench.watched(town.it.running.database.engine.sync_engine) as sent:
            answer = await client.get("/v1/loans?limit=50", headers=town.headers(0))
        answer.raise_for_status()
    assert len(answer.json()["items"]) == 50
    (one,) = (s for s in sent if "FROM loan" in s.sql)
    script = pgbench.Script()
    script.send(one)
    return script
