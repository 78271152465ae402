"""Institutions and guarantors: their tables, states, and the moves between them as data (R-10 to R-13)."""

from __future__ import annotations

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from services.roster.enterprise import Table, one_of
from shared.states import Moves

MOVES = Moves(
    {
        ("active", "announce_exit"): "leaving",
        ("leaving", "announce_exit"): "leaving",
        ("leaving", "exit"): "exited",
        ("active", "disqualify"): "disqualified",
        ("leaving", "disqualify"): "disqualified",
        ("exited", "disqualify"): "disqualified",
        ("exited", "admit"): "active",
        ("disqualified", "admit"): "active",
    }
)
GUARANTOR_MOVES = Moves(
    {
        ("active", "announce_exit"): "leaving",
        ("leaving", "announce_exit"): "leaving",
        ("leaving", "exit"): "exited",
        ("exited", "admit"): "active",
    }
)
State = Literal["active", "leaving", "exited", "disqualified"]
EXIT_CAUSES = ("own_notice", "conference_decision")


class Institution(Table, table=True):
    """A cooperating institution, or one that was. `exit_on` is the first day without new business."""

    __table_args__ = (
        CheckConstraint(one_of("state", sorted(MOVES.states)), name="institution_state"),
        CheckConstraint(one_of("exit_cause", EXIT_CAUSES), name="institution_exit_cause"),
        CheckConstraint("(state IN ('leaving', 'exited')) <= (exit_on IS NOT NULL)", name="institution_exit"),
        CheckConstraint("(state = 'disqualified') = (refused_until IS NOT NULL)", name="institution_refusal"),
        Index("institution_name", "name", "id"),
        Index("institution_leaving", "exit_on", postgresql_where=text("state = 'leaving'")),
    )

    id: UUID = Field(primary_key=True)
    name: str
    uscc: str | None = None
    state: str
    admitted_on: date
    exit_on: date | None = None
    exit_cause: str | None = None
    exit_reason: str | None = None
    exit_minutes_number: str | None = None
    disqualified_on: date | None = None
    refused_until: date | None = None


class Guarantor(Table, table=True):
    """A guarantor registered by the office (R-13)."""

    __table_args__ = (
        CheckConstraint(one_of("state", sorted(GUARANTOR_MOVES.states)), name="guarantor_state"),
        CheckConstraint("(state IN ('leaving', 'exited')) <= (exit_on IS NOT NULL)", name="guarantor_exit"),
        Index("guarantor_name", "name", "id"),
        Index("guarantor_leaving", "exit_on", postgresql_where=text("state = 'leaving'")),
    )

    id: UUID = Field(primary_key=True)
    uscc: str = Field(unique=True)
    name: str
    state: str
    admitted_on: date
    exit_on: date | None = None


class InstitutionShown(BaseModel):
    """An institution as everybody sees it."""

    id: UUID
    name: str
    uscc: str | None
    state: State
    admitted_on: date
    exit_on: date | None
    exit_cause: Literal["own_notice", "conference_decision"] | None
    disqualified_on: date | None
    refused_until: date | None


class GuarantorShown(BaseModel):
    """A guarantor as everybody sees it."""

    id: UUID
    uscc: str
    name: str
    state: Literal["active", "leaving", "exited"]
    admitted_on: date
    exit_on: date | None
