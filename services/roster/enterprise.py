"""The enterprise: its records, each version of them kept, and its days on the support list (R-01 to R-05).

Records are kept in two times: the days they are valid on (`days`), and the days on which they were
known (`recorded_on` until `superseded_on`). A record that changes is superseded by a new version; so the
list can be asked for as of any day and as known on any day. `Enterprise.listed` is what the records of
today amount to (support_list.py), kept so that a question about today is one look.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Computed, Date, DateTime, Index, Text, text
from sqlalchemy.dialects.postgresql import DATEMULTIRANGE, DATERANGE
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

CURRENT = text("superseded_on IS NULL")
DAYS = """daterange(valid_from, CASE WHEN valid_to IS NULL AND revoked_from IS NULL THEN NULL
            ELSE greatest(valid_from, least(valid_to + 1, revoked_from)) END)"""
"""SQL: the days a record holds on: to its last day, or to the day before its revocation; maybe none."""


class Table(SQLModel, registry=registry()):
    """Roster's own tables."""


def one_of(column: str, values: Iterable[str]) -> str:
    """SQL of a CHECK: the column holds one of these words."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def instant(*, optional: bool = False) -> Any:
    """A column of UTC instants."""
    return Field(default=None if optional else ..., sa_type=DateTime(timezone=True))


def personal() -> Any:
    """A column of personal data: masked in the audit log."""
    return Field(sa_column_kwargs={"info": {"personal": True}})


class Enterprise(Table, table=True):
    """An enterprise the records name, and its days on the list as known now."""

    __table_args__ = (
        Index("enterprise_name", "name", postgresql_using="gin", postgresql_ops={"name": "gin_trgm_ops"}),
        CheckConstraint("char_length(uscc) = 18", name="enterprise_uscc"),
    )

    uscc: str = Field(primary_key=True)
    name: str
    listed: Any = Field(sa_column=Column(DATEMULTIRANGE, nullable=False, server_default="{}"))


def record_rules(table: str) -> tuple[CheckConstraint, ...]:
    """What holds for every record of an enterprise."""
    return (
        CheckConstraint("valid_to >= valid_from", name=f"{table}_valid"),
        CheckConstraint("(superseded_on IS NULL) = (superseded_at IS NULL)", name=f"{table}_superseded"),
        CheckConstraint("superseded_on >= recorded_on", name=f"{table}_known"),
        CheckConstraint("(revoked_from IS NULL) = (revocation_reason IS NULL)", name=f"{table}_revoked"),
        CheckConstraint(one_of("source", ("import", "nomination")), name=f"{table}_source"),
    )


class Qualification(Table, table=True):
    """One version of one qualification: a category by a document (R-02), or by the conference (R-07)."""

    __table_args__ = (
        *record_rules("qualification"),
        Index(
            "qualification_once",
            "uscc",
            "category",
            "document_no",
            unique=True,
            postgresql_where=CURRENT,
        ),
        Index("qualification_of_enterprise", "uscc", "recorded_on"),
        Index("qualification_versions", "qualification_id"),
        Index("qualification_begins", text("lower(days)"), postgresql_where=CURRENT),
        Index("qualification_ends", text("upper(days)"), postgresql_where=CURRENT),
    )

    id: UUID = Field(primary_key=True)
    qualification_id: UUID
    uscc: str = Field(foreign_key="enterprise.uscc")
    category: str
    document_no: str
    certificate_no: str | None = None
    issued_on: date | None = None
    valid_from: date
    valid_to: date | None = None
    revoked_from: date | None = None
    revocation_reason: str | None = None
    days: Any = Field(default=None, sa_column=Column(DATERANGE, Computed(DAYS, persisted=True)))
    source: str
    source_id: UUID
    recorded_on: date
    recorded_at: datetime = instant()
    superseded_on: date | None = None
    superseded_at: datetime | None = instant(optional=True)


class DClassPeriod(Table, table=True):
    """One version of one period of D-class differential measures (R-04)."""

    __tablename__ = "d_class_period"
    __table_args__ = (
        *record_rules("d_class_period"),
        Index("d_class_period_once", "uscc", "document_no", unique=True, postgresql_where=CURRENT),
        Index("d_class_period_of_enterprise", "uscc", "recorded_on"),
        Index("d_class_period_versions", "d_class_period_id"),
        Index("d_class_period_begins", text("lower(days)"), postgresql_where=CURRENT),
        Index("d_class_period_ends", text("upper(days)"), postgresql_where=CURRENT),
    )

    id: UUID = Field(primary_key=True)
    d_class_period_id: UUID
    uscc: str = Field(foreign_key="enterprise.uscc")
    document_no: str
    issued_on: date | None = None
    valid_from: date
    valid_to: date | None = None
    revoked_from: date | None = None
    revocation_reason: str | None = None
    days: Any = Field(default=None, sa_column=Column(DATERANGE, Computed(DAYS, persisted=True)))
    source: str
    source_id: UUID
    recorded_on: date
    recorded_at: datetime = instant()
    superseded_on: date | None = None
    superseded_at: datetime | None = instant(optional=True)


CAUSES = ("qualification", "expiry", "revocation", "d_class_start", "d_class_end", "renewal")


class ListChange(Table, table=True):
    """One change of an enterprise's days on the list as it was announced (R-05): from which day, by what
    cause and document, and the whole calendar as known from then on. `id` is the event's."""

    __tablename__ = "list_change"
    __table_args__ = (
        Index("list_change_of_enterprise", "uscc", "recorded_on", "id"),
        CheckConstraint(one_of("cause", CAUSES), name="list_change_cause"),
    )

    id: UUID = Field(primary_key=True)
    uscc: str
    recorded_on: date
    recorded_at: datetime = instant()
    from_day: date = Field(sa_type=Date)
    on_list: bool
    cause: str
    document: str = Field(sa_type=Text)
    listed: Any = Field(sa_column=Column(DATEMULTIRANGE, nullable=False))
