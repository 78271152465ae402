"""An institution's application to cooperate: the case, and how it looks in answers (R-10)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Index, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field

from services.roster import conference
from services.roster.conference import AdmissionBallot, State, case_rules
from services.roster.enterprise import Table
from shared.ballots import BallotShown


class Admission(Table, table=True):
    """An institution's application to cooperate, and what became of it."""

    __table_args__ = (
        *case_rules("admission"),
        Index(
            "admission_open_once",
            "institution_id",
            unique=True,
            postgresql_where=text("state IN ('voting', 'meeting')"),
        ),
        Index("admission_of_institution", "institution_id", "id"),
        Index("admission_in_state", "state", "id"),
    )

    id: UUID = Field(primary_key=True)
    number: str = Field(unique=True)
    institution_id: UUID
    name: str
    uscc: str | None = None
    statement: str
    state: str
    opened_on: date
    decided_on: date | None = None
    minutes_number: str | None = None


class AdmissionShown(BaseModel):
    """An application for admission with every unit's ballot."""

    id: UUID
    number: str
    institution_id: UUID
    name: str
    uscc: str | None
    statement: str
    state: State
    opened_on: date
    decided_on: date | None
    minutes_number: str | None
    ballots: list[BallotShown]


async def shown(session: AsyncSession, row: Admission, today: date) -> AdmissionShown:
    """The admission as it stands."""
    ballots = await conference.ballots_of(session, AdmissionBallot, row.id, today)
    return AdmissionShown(ballots=ballots, **row.model_dump())
