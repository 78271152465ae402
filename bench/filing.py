"""Filing a drawdown (R-25) over HTTP against pgbench writing the very same rows.

The floor begins a transaction, sends the two writing statements of a real filing (loan, dues, approval;
outbox, audit, idempotency) with new keys, and commits: no reading, no rules, no HTTP, nobody who
publishes the outbox or seals the audit beside it.
"""

from __future__ import annotations

import itertools

import httpx

from bench import pgbench
from bench.ground import CONNECTIONS, Rate, load, served
from bench.town import LENDERS, Town, approval, drawdown, lending_town
from bench.turns import ROUNDS, in_turn
from bench.verdict import Line
from tests.ground import Databases

FILINGS = 800
FLOOR_TIMES = 60
TARGET = 0.15
FIRST_OF_FLOOR = 1 + FILINGS * (ROUNDS + 1)
"""One loan is filed to see what is sent; then come ours, then the floor's."""


async def measure(databases: Databases, *, large: bool) -> list[Line]:
    """Filings per second at 64 connections, as a share of pgbench's transactions per second."""
    begun = itertools.count(0, FLOOR_TIMES)
    approvals = FIRST_OF_FLOOR + CONNECTIONS * FLOOR_TIMES * (ROUNDS + 1)
    async with lending_town(databases, 10_000, approvals) as town:
        script = await floor_of(town)
        async with served(town.it.app) as port:

            async def ours() -> Rate:
                rate = await load(port, town.filings(FILINGS))
                await town.it.settle()
                return rate

            async def floor() -> Rate:
                return await pgbench.rate(town.url, script, FLOOR_TIMES, next(begun))

            turns = await in_turn(ours, floor)
    figures = f"{turns.one_per_second:.0f}/s against {turns.other_per_second:.0f} tps"
    return [Line("filing / pgbench", turns.ratio, TARGET, figures)]


async def floor_of(town: Town) -> pgbench.Script:
    """File one loan, and make its writing statements a script that files others."""
    place, body = town.next_approval, drawdown(town.next_approval)
    town.next_approval += 1
    transport = httpx.ASGITransport(town.it.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://bench") as client:
        headers = town.headers(place % LENDERS, f"bench-{place}")
        with pgbench.watched(town.it.running.database.engine.sync_engine) as sent:
            answer = await client.post("/v1/loans", json=body, headers=headers)
        answer.raise_for_status()
    loan = answer.json()
    (write,) = (s for s in sent if "INSERT INTO loan" in s.sql)
    (close,) = (s for s in sent if "INSERT INTO outbox" in s.sql and "INSERT INTO idempotency" in s.sql)
    event_id = next(str(value[0]) for value in close.values if isinstance(value, list))
    hexed = "lpad(to_hex(CAST(:n AS bigint)), 12, '0')"
    script = pgbench.Script(
        {
            str(approval(place)): f"'aaaaaaaa-0000-7000-8000-' || {hexed}",
            loan["id"]: f"'0199ffff-0000-7000-8000-' || {hexed}",
            event_id: f"'0199eeee-0000-7000-8000-' || {hexed}",
            loan["number"]: "'L-2026-B' || CAST(:n AS text)",
            str(body["contract_number"]): "'B-' || CAST(:n AS text)",
            f"bench-{place}": "'floor-' || CAST(:n AS text)",
        }
    )
    script.say(f"\\set n {FIRST_OF_FLOOR} + :seq * {CONNECTIONS} + :client_id")
    script.say("\\set seq :seq + 1")
    script.say("BEGIN;")
    script.send(write)
    script.send(close)
    script.say("COMMIT;")
    return script
