"""What lending remembers of enterprises: their days on the support list, and whether they registered.

Heard from roster (R-03 to R-05, R-08); replayable. Both facts of one enterprise share their topic and
key, so they come in order. A list import brings a hundred thousand of them: they are taken in as sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, text
from sqlalchemy.dialects.postgresql import DATEMULTIRANGE
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field

from services.lending.loan import Table
from shared.events import EnterpriseRegistered, Period, SupportListChanged


class Borrower(Table, table=True):
    """An enterprise: the days it is on the list as known now, and whether it may apply (R-20)."""

    uscc: str = Field(primary_key=True)
    name: str
    listed: Any = Field(sa_column=Column(DATEMULTIRANGE, nullable=False, server_default="{}"))
    registered: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})


REMEMBER_DAYS = text(
    "INSERT INTO borrower (uscc, name, listed) "
    "SELECT * FROM unnest(CAST(:usccs AS text[]), CAST(:names AS text[]), "
    "CAST(CAST(:days AS text[]) AS datemultirange[])) "
    "ON CONFLICT (uscc) DO UPDATE SET name = excluded.name, listed = excluded.listed"
)
REMEMBER_REGISTRATION = text(
    "INSERT INTO borrower (uscc, name, registered) "
    "SELECT uscc, name, true FROM unnest(CAST(:usccs AS text[]), CAST(:names AS text[])) AS r(uscc, name) "
    "ON CONFLICT (uscc) DO UPDATE SET registered = true"
)


def multirange(periods: Sequence[Period]) -> str:
    """PostgreSQL's text of these periods, both ends included, open without an end."""
    return "{" + ",".join(f"[{p.from_day},{p.to_day or ''}{']' if p.to_day else ')'}" for p in periods) + "}"


async def remember_days(session: AsyncSession, events: Sequence[SupportListChanged]) -> None:
    """Keep each enterprise's newest days on the list."""
    newest = {event.uscc: event for event in events}
    values = {
        "usccs": list(newest),
        "names": [event.name for event in newest.values()],
        "days": [multirange(event.listed) for event in newest.values()],
    }
    await session.execute(REMEMBER_DAYS, values)


async def remember_registration(session: AsyncSession, events: Sequence[EnterpriseRegistered]) -> None:
    """Keep that these enterprises have registered."""
    newest = {event.uscc: event.name for event in events}
    await session.execute(REMEMBER_REGISTRATION, {"usccs": list(newest), "names": list(newest.values())})
