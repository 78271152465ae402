"""The office's own calendar of a year (R-33), which wins over the holiday library."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import Column, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col
from starlette.requests import Request

from services.lending.loan import Table
from services.lending.overdue_day import recount_deadlines
from shared.calendar import WorkingDays, calendar_warning
from shared.clock import Day
from shared.events import WorkingCalendarSet
from shared.measures import measures_on
from shared.outbox import announce
from shared.problems import InvalidInput, Refusal, language_of, refusals
from shared.rules import Text
from shared.service import Session, Today, router

steps = router("calendar")
Year = Annotated[int, Path(ge=2001, le=2199, description="The calendar year.")]


class WorkingCalendar(Table, table=True):
    """The whole plan of a year: `{day: is it worked}` for weekdays off and weekend days worked."""

    __tablename__ = "working_calendar"

    year: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    exceptions: dict[str, bool] = Field(sa_column=Column(JSONB, nullable=False))


class SetCalendar(BaseModel):
    """Every weekday off (false) and every weekend day worked (true) of the year."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"exceptions": {"2027-01-01": False, "2027-01-03": True}}]},
    )

    exceptions: dict[Day, bool] = Member(max_length=256, examples=[{"2027-01-01": False, "2027-01-03": True}])


class CalendarShown(BaseModel):
    """A year's exceptions to Monday–Friday and where they come from; `warning` when nobody knows yet."""

    year: int
    source: Literal["office", "library", "weekdays"]
    exceptions: dict[date, bool]
    warning: str | None


async def working_days(session: AsyncSession) -> WorkingDays:
    """Working days by the office's uploads, else the library, else Monday to Friday."""
    rows = (await session.execute(select(col(WorkingCalendar.year), col(WorkingCalendar.exceptions)))).all()
    return WorkingDays({row.year: _read(row.exceptions) for row in rows})


def _read(exceptions: dict[str, Any]) -> dict[date, bool]:
    return {date.fromisoformat(day): bool(worked) for day, worked in exceptions.items()}


def warnings(request: Request, provisional: tuple[int, ...]) -> list[str]:
    """What an answer says when it rests on a year without a plan (R-33)."""
    return [calendar_warning(provisional).say(language_of(request))] if provisional else []


@steps.get("/v1/calendar/{year}", operation_id="get_calendar")
async def get_calendar(year: Year, session: Session, request: Request) -> CalendarShown:
    """A year's working calendar as the deadlines are counted by it."""
    days = await working_days(session)
    return _shown(year, days, request)


@steps.put("/v1/calendar/{year}", operation_id="put_calendar", responses=refusals(Refusal))
async def put_calendar(
    year: Year, body: SetCalendar, session: Session, today: Today, request: Request
) -> CalendarShown:
    """Upload a year's plan; it is the whole plan and takes the place of any before it."""
    wrong = [day for day in body.exceptions if day.year != year]
    if wrong:
        raise InvalidInput(
            Text(f"日历中有不属于 {year} 年的日期", f"The calendar names days outside {year}"),
            rule="R-33",
            errors=[{"pointer": f"#/exceptions/{day}", "detail": f"≠ {year}"} for day in wrong],
        )
    exceptions = {day.isoformat(): worked for day, worked in sorted(body.exceptions.items())}
    row = await session.get(WorkingCalendar, year, with_for_update=True)
    if row is None:
        session.add(WorkingCalendar(year=year, exceptions=exceptions))
    else:
        row.exceptions = exceptions
    await session.flush()
    await recount_deadlines(session, year, await working_days(session))
    version = measures_on(today).version
    announce(
        session,
        WorkingCalendarSet(business_date=today, measures=version, year=year, exceptions=body.exceptions),
    )
    return _shown(year, WorkingDays({year: body.exceptions}), request)


def _shown(year: int, days: WorkingDays, request: Request) -> CalendarShown:
    source: Literal["office", "library", "weekdays"] = (
        "office" if year in days.uploaded else "library" if days.knows(year) else "weekdays"
    )
    first = date(year, 1, 1)
    every = (first + timedelta(days=i) for i in range((date(year + 1, 1, 1) - first).days))
    exceptions = {day: worked for day in every if (worked := days.is_working_day(day)) != (day.weekday() < 5)}
    missing = () if source != "weekdays" else (year,)
    return CalendarShown(
        year=year,
        source=source,
        exceptions=exceptions,
        warning=next(iter(warnings(request, missing)), None),
    )
