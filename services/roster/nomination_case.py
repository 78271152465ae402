"""An enterprise proposed for the list: the case, and how it looks in answers (R-07)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Index, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field

from services.roster import conference
from services.roster.conference import NominationBallot, State, case_rules
from services.roster.enterprise import Table
from shared.ballots import BallotShown


class Nomination(Table, table=True):
    """An enterprise proposed for the support list, and what became of it."""

    __table_args__ = (
        *case_rules("nomination"),
        Index(
            "nomination_open_once",
            "uscc",
            unique=True,
            postgresql_where=text("state IN ('voting', 'meeting')"),
        ),
        Index("nomination_of_enterprise", "uscc", "id"),
        Index("nomination_by_party", "nominated_by_party", "id"),
        Index("nomination_in_state", "state", "id"),
    )

    id: UUID = Field(primary_key=True)
    number: str = Field(unique=True)
    uscc: str
    name: str
    reasons: str
    nominated_by: str
    nominated_by_party: str | None = None
    state: str
    opened_on: date
    decided_on: date | None = None
    minutes_number: str | None = None


class NominationShown(BaseModel):
    """A nomination with every unit's ballot."""

    id: UUID
    number: str
    uscc: str
    name: str
    reasons: str
    nominated_by: str
    state: State
    opened_on: date
    decided_on: date | None
    minutes_number: str | None
    ballots: list[BallotShown]


async def shown(session: AsyncSession, row: Nomination, today: date) -> NominationShown:
    """The nomination as it stands."""
    ballots = await conference.ballots_of(session, NominationBallot, row.id, today)
    return NominationShown(ballots=ballots, **row.model_dump(exclude={"nominated_by_party"}))
