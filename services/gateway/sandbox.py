"""The sandbox's clock: hold the business date and move it on; a live installation has no such route."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date, timedelta
from typing import cast

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from services.gateway.upstreams import Upstream
from shared.clock import SandboxClock
from shared.events import SandboxClockMoved
from shared.measures import measures_on
from shared.outbox import announce
from shared.problems import InvalidInput, NotFound, Unavailable, refusals
from shared.rules import Text
from shared.service import Here, Session, router

steps = router("sandbox")
LIMIT_SECONDS = 60.0


class MoveClock(BaseModel):
    """The business date to hold, or how many days to go on."""

    model_config = ConfigDict(extra="forbid")

    today: date | None = None
    advance_days: int | None = Field(default=None, ge=1, le=4000)


class ClockShown(BaseModel):
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


@steps.put("/v1/sandbox/clock", operation_id="move_sandbox_clock", responses=refusals(NotFound, Unavailable))
async def move_sandbox_clock(body: MoveClock, here: Here, session: Session, request: Request) -> ClockShown:
    """Hold the business date at a day; answers when every service has done its work of each day up to it."""
    clock = _sandbox_clock(here)
    today = clock.today()
    day = body.today or (today + timedelta(days=body.advance_days) if body.advance_days else None)
    if day is None or day < today:
        raise InvalidInput(
            Text(f"请给出不早于 {today} 的日期", f"Give a day not before {today}"),
            errors=[{"pointer": "#/today", "detail": f">= {today}"}],
        )
    measures = measures_on(day).version
    announce(session, SandboxClockMoved(business_date=day, measures=measures, today=day))
    clock.hold(day)
    upstreams = cast(Mapping[str, Upstream], request.app.state.upstreams)
    request.state.after_commit = lambda: _wait_for_all(upstreams, day)
    return ClockShown(today=day, held=True)


async def _wait_for_all(upstreams: Mapping[str, Upstream], day: date) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT_SECONDS
    for name, upstream in upstreams.items():
        while ((await upstream.ready()).get("day") or "") < day.isoformat():
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(
                    Text(f"{name} 尚未完成 {day} 的日终处理", f"{name} has not done the work of {day} yet")
                )
            await asyncio.sleep(0.02)
