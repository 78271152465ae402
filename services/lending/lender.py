"""What lending remembers of institutions and guarantors: the days on which they take new business.

Heard from roster (R-10 to R-13); replayable. An admission opens the days from its date on, an exit or a
disqualification closes them; admitted anew, they open again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Column, TextClause, text
from sqlalchemy.dialects.postgresql import DATEMULTIRANGE
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field

from services.lending.loan import Table
from shared.events import AboutGuarantor, AboutInstitution
from shared.problems import Refusal
from shared.rules import Text


class Lender(Table, table=True):
    """A cooperating institution and its active days."""

    institution_id: UUID = Field(primary_key=True)
    name: str
    active: Any = Field(sa_column=Column(DATEMULTIRANGE, nullable=False))


class Guarantor(Table, table=True):
    """A guarantor and its active days."""

    guarantor_id: UUID = Field(primary_key=True)
    name: str
    active: Any = Field(sa_column=Column(DATEMULTIRANGE, nullable=False))


class InstitutionNotActive(Refusal):
    """The institution takes no new business on that day (R-11)."""

    title = Text("机构不在合作期", "Institution not active")


def _opening(table: str, key: str) -> TextClause:
    return text(
        f"INSERT INTO {table} ({key}, name, active) "  # noqa: S608  (names of our own tables)
        "VALUES (:id, :name, datemultirange(daterange(:day, NULL))) "
        f"ON CONFLICT ({key}) DO UPDATE SET name = excluded.name, "
        f"active = {table}.active + excluded.active"
    )


def _closing(table: str, key: str) -> TextClause:
    return text(
        f"INSERT INTO {table} ({key}, name, active) VALUES (:id, :name, '{{}}') "  # noqa: S608
        f"ON CONFLICT ({key}) DO UPDATE SET "
        f"active = {table}.active - datemultirange(daterange(:day, NULL))"
    )


LENDER_OPENS, LENDER_CLOSES = (make("lender", "institution_id") for make in (_opening, _closing))
GUARANTOR_OPENS, GUARANTOR_CLOSES = (make("guarantor", "guarantor_id") for make in (_opening, _closing))


async def institution_opens(session: AsyncSession, events: Sequence[AboutInstitution]) -> None:
    """Admitted: active from the day on (R-10)."""
    for event in events:
        values = {"id": event.institution_id, "name": event.name, "day": event.effective_on}
        await session.execute(LENDER_OPENS, values)


async def institution_closes(session: AsyncSession, events: Sequence[AboutInstitution]) -> None:
    """Exited or disqualified: no new business from the day on (R-11, R-71)."""
    for event in events:
        values = {"id": event.institution_id, "name": event.name, "day": event.effective_on}
        await session.execute(LENDER_CLOSES, values)


async def guarantor_opens(session: AsyncSession, events: Sequence[AboutGuarantor]) -> None:
    """Registered: may guarantee from the day on (R-13)."""
    for event in events:
        values = {"id": event.guarantor_id, "name": event.name, "day": event.effective_on}
        await session.execute(GUARANTOR_OPENS, values)


async def guarantor_closes(session: AsyncSession, events: Sequence[AboutGuarantor]) -> None:
    """Left: guarantees no new loans from the day on (R-13)."""
    for event in events:
        values = {"id": event.guarantor_id, "name": event.name, "day": event.effective_on}
        await session.execute(GUARANTOR_CLOSES, values)
