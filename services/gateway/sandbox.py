"""The sandbox's clock: hold the business date and move it on; a live installation has no such route."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date, timedelta
from typing import cast

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request

from services.gateway.surface import Surface
from services.gateway.upstreams import Upstream
from shared.clock import SandboxClock
from shared.events import SandboxClockMoved
from shared.measures import measures_on
from shared.outbox import announce
from shared.problems import NotFound, Refusal, Unavailable, refusals
from shared.rules import Text
from shared.service import Here, Session, router

steps = router("sandbox")
LIMIT_SECONDS = 30.0


class ClockStandsLater(Refusal):
    """The sandbox's clock only goes forward: what happened on a day has happened."""

    title = Text("日期只能向前", "The date only goes forward")


class MoveClock(BaseModel):
    """The business date to hold, or how many days to go on; one of the two."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"today": "2026-06-01"}]})

    today: date | None = None
    advance_days: int | None = Field(default=None, ge=1, le=4000)

    @model_validator(mode="after")
    def _one_of_two(self) -> MoveClock:
        if (self.today is None) == (self.advance_days is None):
            raise ValueError("today or advance_days, one of the two")
        return self


class ClockShown(BaseModel):
    """The sandbox's business date; `held` once it was moved, until then the machine's."""

    today: date
    held: bool


def _sandbox_clock(here: Here) -> SandboxClock:
    if not here.settings.sandbox or not isinstance(here.clock, SandboxClock):
        raise NotFound(Text("这不是演示环境", "This installation is no sandbox"))
    return here.clock


@steps.get("/v1/sandbox/clock", operation_id="get_sandbox_clock", responses=refusals(NotFound))
async def get_sandbox_clock(here: Here) -> ClockShown:
    """The sandbox's business date."""
    clock = _sandbox_clock(here)
    return ClockShown(today=clock.today(), held=clock.held is not None)


@steps.put(
    "/v1/sandbox/clock",
    operation_id="move_sandbox_clock",
    responses=refusals(NotFound, ClockStandsLater, Unavailable),
)
async def move_sandbox_clock(body: MoveClock, here: Here, session: Session, request: Request) -> ClockShown:
    """Hold the business date at a day; answers when every service has done its work of each day up to it."""
    clock = _sandbox_clock(here)
    today = clock.today()
    day = body.today or today + timedelta(days=body.advance_days or 0)
    if day < today:
        raise ClockStandsLater(Text(f"今天是 {today}，不能回到 {day}", f"It is {today}; {day} is past"))
    moved = SandboxClockMoved(business_date=day, measures=measures_on(day).version, today=day)
    await here.days.keep(session, day)
    announce(session, moved)
    upstreams = cast(Surface, request.app.state.surface).upstreams

    async def moved_everywhere() -> None:
        clock.move_on(day)
        await _wait_for_all(upstreams, day)

    request.state.after_commit = moved_everywhere
    return ClockShown(today=day, held=True)


async def _wait_for_all(upstreams: Mapping[str, Upstream], day: date) -> None:
    """Until every service has done the day's work. Raises Unavailable after LIMIT_SECONDS: the date is
    moved all the same, and asking again waits on."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LIMIT_SECONDS
    for name, upstream in upstreams.items():
        while ((await upstream.ready()).get("day") or "") < day.isoformat():
            if loop.time() > deadline:
                raise Unavailable(
                    Text(
                        f"日期已改为 {day}，{name} 尚未完成每日处理，请稍候",
                        f"It is {day} now, but {name} has not done the days' work yet; wait a little",
                    ),
                    headers={"Retry-After": "5"},
                )
            await asyncio.sleep(0.02)
