"""What a new business day brings: each service's daily work, once a day, one replica at a time.

Missed days are caught up one by one, in order. Each day's work and the note that it is done are one
transaction, so a crash in between does the day again from the start and nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

from sqlalchemy import insert, select, text, update
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
        async with self.database.reading() as session:
            row = (await session.execute(select(business_day))).first()
        if row is not None:
            self.done = date.fromisoformat(row.done)
            if row.held and isinstance(self.clock, SandboxClock) and self.clock.held is None:
                self.clock.hold(date.fromisoformat(row.held))

    async def run(self) -> None:
        while True:
            try:
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
        clock = self.clock
        if not isinstance(clock, SandboxClock):
            return
        day: date = max(event.today for event in events)
        if clock.held is None or day > clock.held:
            clock.hold(day)
        row = (await session.execute(select(business_day))).first()
        if row is not None:
            held = max(row.held or "", day.isoformat())
            await session.execute(update(business_day).values(held=held))
        self._moved.set()
