"""What roster remembers of working days: the office's uploads, as lending told of them (R-33, for R-11)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Column, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col

from services.roster.enterprise import Table
from shared.calendar import WorkingDays
from shared.events import WorkingCalendarSet


class WorkingCalendar(Table, table=True):
    """A year's plan: `{day: is it worked}` for weekdays off and weekend days worked."""

    __tablename__ = "working_calendar"

    year: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    exceptions: dict[str, bool] = Field(sa_column=Column(JSONB, nullable=False))


async def working_days(session: AsyncSession) -> WorkingDays:
    """Working days by the office's uploads, else the library, else Monday to Friday."""
    rows = (await session.execute(select(col(WorkingCalendar.year), col(WorkingCalendar.exceptions)))).all()
    return WorkingDays(
        {row.year: {date.fromisoformat(day): on for day, on in row.exceptions.items()} for row in rows}
    )


async def remember_calendar(session: AsyncSession, events: Sequence[WorkingCalendarSet]) -> None:
    """Keep each year's newest plan."""
    newest: dict[int, dict[str, Any]] = {
        event.year: {day.isoformat(): worked for day, worked in event.exceptions.items()} for event in events
    }
    rows = insert(WorkingCalendar).values([{"year": y, "exceptions": e} for y, e in newest.items()])
    await session.execute(
        rows.on_conflict_do_update(index_elements=["year"], set_={"exceptions": rows.excluded.exceptions})
    )
