"""The sandbox's clock goes forward, for everybody, and answers when the day's work is done."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from services.gateway import sandbox
from services.gateway.app import SERVICE
from services.gateway.edge import _tell_day
from shared.bus import Received
from shared.clock import SANDBOX_DAY, SandboxClock, SystemClock
from shared.database import Database
from shared.days import Days
from shared.events import GATEWAY, SandboxClockMoved
from shared.plumbing import business_day
from tests.gateway.gate import Gate, gate
from tests.ground import DAY, Databases, eventually, key

PATH = "/v1/sandbox/clock"


def done(it: Gate, day: date) -> None:
    """The services behind have done the work of each day up to this one."""
    for app in it.behind.values():
        app.state.day = day.isoformat()


@pytest.mark.parametrize("body", [{"today": "2026-06-01"}, {"advance_days": 91}])
async def test_the_clock_is_moved_and_the_others_are_told(it: Gate, body: dict[str, object]) -> None:
    done(it, date(2026, 6, 1))
    office = await it.office()
    assert (await office.get(PATH)).json() == {"today": DAY.isoformat(), "held": True}
    answer = await office.put(PATH, json=body, headers=key())
    assert (answer.status_code, answer.json()) == (200, {"today": "2026-06-01", "held": True})
    assert it.clock.today() == date(2026, 6, 1)

    async def told() -> list[Received]:
        return [record async for records in it.bus.history([GATEWAY]) for record in records]

    [record] = await eventually(told, "the event")
    event = SandboxClockMoved.read(record.event_id, record.time, record.data)
    assert (event.today, event.business_date) == (date(2026, 6, 1), date(2026, 6, 1))


async def test_it_answers_only_when_every_service_has_done_the_work_of_the_day(it: Gate) -> None:
    it.behind["lending"].state.day = "2026-06-01"
    moving = asyncio.create_task((await it.office()).put(PATH, json={"today": "2026-06-01"}, headers=key()))

    async def moved() -> bool:
        return it.clock.today() == date(2026, 6, 1)

    await eventually(moved, "the gateway's own clock")
    assert not moving.done()
    it.behind["roster"].state.day = "2026-06-01"
    assert (await moving).status_code == 200


async def test_a_service_that_does_not_get_done_is_told_and_the_date_stays_moved(
    it: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "LIMIT_SECONDS", 0.05)
    answer = await (await it.office()).put(PATH, json={"advance_days": 1}, headers=key())
    assert answer.status_code == 503
    assert "roster" in answer.json()["detail"]
    assert it.clock.today() == DAY + timedelta(days=1)
    done(it, DAY + timedelta(days=1))
    again = await (await it.office()).put(PATH, json={"today": "2026-03-03"}, headers=key())
    assert again.status_code == 200


async def test_the_clock_never_goes_back(it: Gate) -> None:
    refused = await (await it.office()).put(PATH, json={"today": "2026-03-01"}, headers=key())
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/clock-stands-later"
    assert it.clock.today() == DAY


@pytest.mark.parametrize(
    "body", [{}, {"today": "2026-06-01", "advance_days": 1}, {"advance_days": 0}, {"today": "soon"}]
)
async def test_what_is_no_move_is_refused(it: Gate, body: dict[str, object]) -> None:
    assert (await (await it.office()).put(PATH, json=body, headers=key())).status_code == 422
    assert it.clock.today() == DAY


async def test_only_the_office_moves_the_clock(it: Gate) -> None:
    for role in ("auditor", "institution", "member"):
        somebody = it.client(await it.token(role, party="czj"))
        assert (await somebody.put(PATH, json={"advance_days": 1}, headers=key())).status_code == 403
        assert (await somebody.get(PATH)).status_code == 200


async def test_a_live_installation_has_no_such_clock(databases: Databases) -> None:
    async with gate(databases, sandbox=False) as it:
        office = await it.office()
        assert (await office.get(PATH)).status_code == 404
        assert (await office.put(PATH, json={"advance_days": 1}, headers=key())).status_code == 404
        assert it.clock.today() == DAY


async def test_after_a_restart_the_clock_stands_where_it_was_put(it: Gate) -> None:
    done(it, date(2026, 6, 1))
    await (await it.office()).put(PATH, json={"today": "2026-06-01"}, headers=key())

    async def kept() -> bool:
        async with it.running.database.reading() as session:
            row = (await session.execute(select(business_day))).one()
        return bool(row.held == "2026-06-01")

    await eventually(kept, "the held day")
    clock = SandboxClock()
    await Days(it.running.database, clock, None).restore()
    assert clock.today() == date(2026, 6, 1)


async def test_a_move_taken_in_late_does_not_bring_an_earlier_day_back(it: Gate) -> None:
    moves = [
        SandboxClockMoved(business_date=day, measures="2022-06-26", today=day)
        for day in (date(2026, 6, 1), date(2026, 5, 1))
    ]
    for move in moves:
        async with it.running.database.transaction() as session:
            await it.running.days.clock_moved(session, [move])
    assert it.clock.today() == date(2026, 6, 1)
    async with it.running.database.reading() as session:
        assert (await session.execute(select(business_day))).one().held == "2026-06-01"


async def test_a_sibling_process_follows(it: Gate) -> None:
    """One member of a group takes the event in; the others find the day in the database."""
    clock = SandboxClock(DAY)
    running = asyncio.create_task(Days(it.running.database, clock, None, poll_seconds=0.01).run())
    done(it, date(2026, 6, 1))
    await (await it.office()).put(PATH, json={"today": "2026-06-01"}, headers=key())

    async def followed() -> bool:
        return clock.today() == date(2026, 6, 1)

    await eventually(followed, "the sibling's clock")
    running.cancel()


async def test_moved_before_any_day_was_done_it_is_kept_all_the_same(databases: Databases) -> None:
    url = await databases.fresh(SERVICE, "gateway")
    database, clock = Database(url, pool=2), SandboxClock(DAY)
    days = Days(database, clock, None)
    async with database.transaction() as session:
        await days.keep(session, date(2026, 6, 1))
    await days.restore()
    await days.catch_up()
    assert (clock.today(), days.done) == (date(2026, 6, 1), date(2026, 6, 1))
    await database.close()
    await databases.drop(url)


async def test_every_request_tells_the_services_the_day_and_nobody_outside_can(it: Gate) -> None:
    done(it, date(2026, 6, 1))
    office = await it.office()
    await office.put(PATH, json={"today": "2026-06-01"}, headers=key())
    seen = (await office.get("/v1/lending/thing", headers={SANDBOX_DAY: "2030-01-01"})).json()
    assert seen["headers"][SANDBOX_DAY] == "2026-06-01"


def test_a_live_installation_tells_no_day() -> None:
    scope = {"headers": [(SANDBOX_DAY.encode(), b"2030-01-01")]}
    _tell_day(scope, SystemClock())
    assert SANDBOX_DAY.encode() not in dict(scope["headers"])
