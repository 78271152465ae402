"""What a new business day brings: each service's daily work, once a day, one replica at a time.

Missed days are caught up one by one, in order. Each day's work and the note that it is done are one
transaction, so a crash in between does the day again from the start and nothing twice.

A sandbox's held day is kept in the service's database: one replica takes the gateway's `SandboxClockMoved`
in, its siblings read the day there. A live installation has no held day and asks for none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.clock import Clock, SandboxClock
from shared.database import Database
from shared.plumbing import business_day

log = logging.getLogger("kechuang.days")
Daily = Callable[[AsyncSession, date], Awaitable[None]]
ALONE = text("SELECT pg_advisory_xact_lock(hashtext('kechuang.days'))")


class Days:
    """Runs `daily(session, day)` for every business day up to the clock's today."""

    def __init__(
        self, database: Database, clock: Clock, daily: Daily | None, *, poll_seconds: float = 1.0
    ) -> None:
        self.database = database
        self.clock = clock
        self.daily = daily
        self.poll_seconds = poll_seconds
        self.done: date | None = None
        self._moved = asyncio.Event()
        if isinstance(clock, SandboxClock):
            clock.on_move.append(self._moved.set)

    async def restore(self) -> None:
        """On start: the last day done, and the sandbox's held day if it was moved."""
        row = await self._row()
        if row is not None:
            self.done = date.fromisoformat(row.done)
            self._follow(row.held)

    async def _row(self) -> Any:
        async with self.database.reading() as session:
            return (await session.execute(select(business_day))).first()

    def _follow(self, held: str | None) -> None:
        if held and isinstance(self.clock, SandboxClock):
            self.clock.move_on(date.fromisoformat(held))

    async def run(self) -> None:
        while True:
            try:
                if isinstance(self.clock, SandboxClock):
                    self._follow(getattr(await self._row(), "held", None))
                await self.catch_up()
            except Exception:
                log.exception("the day's work failed; it will be tried again")
            with suppress(TimeoutError):
                async with asyncio.timeout(self.poll_seconds):
                    await self._moved.wait()
            self._moved.clear()

    async def catch_up(self) -> None:
        """Do every day that is not done yet, up to today."""
        while self.done is None or self.done < self.clock.today():
            self.done = await self._one_day(self.clock.today())

    async def _one_day(self, today: date) -> date:
        """The next day's work, unless a sibling did it meanwhile; the last day done."""
        async with self.database.transaction() as session:
            await session.execute(ALONE)
            row = (await session.execute(select(business_day))).first()
            day = date.fromisoformat(row.done) + timedelta(days=1) if row else today
            if day > today:
                return day - timedelta(days=1)
            if self.daily is not None:
                await self.daily(session, day)
            done = {"done": day.isoformat()}
            await session.execute(update(business_day).values(done) if row else insert(business_day), done)
            return day

    async def clock_moved(self, session: AsyncSession, events: Sequence[Any]) -> None:
        """Reaction: hold the sandbox's clock where the gateway put it. It only goes forward: a move taken
        in late must not bring an earlier day back."""
        if isinstance(self.clock, SandboxClock):
            day: date = max(event.today for event in events)
            await self.keep(session, day)
            self.clock.move_on(day)

    async def keep(self, session: AsyncSession, day: date) -> None:
        """Keep the sandbox's held day, for siblings and for the next start. Moved before any day was
        done, the first day to be done is this one."""
        held = day.isoformat()
        first = upsert(business_day).values(done=(day - timedelta(days=1)).isoformat(), held=held)
        later = func.greatest(business_day.c.held, held)
        await session.execute(
            first.on_conflict_do_update(index_elements=[business_day.c.only], set_={"held": later})
        )
