"""An imported list: the job, its file, and what became of each row (R-06)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ARRAY, CheckConstraint, Column, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from services.roster.enterprise import Table, instant, one_of
from shared.rules import Language

Kind = Literal["qualification", "d_class"]
State = Literal["waiting", "reading", "checking", "applying", "done", "refused"]
Outcome = Literal["added", "renewed", "unchanged", "refused"]
STATES = ("waiting", "reading", "checking", "applying", "done", "refused")
OUTCOMES = ("added", "renewed", "unchanged", "refused")
UNFINISHED = text("state NOT IN ('done', 'refused')")


def count() -> Any:
    """A column that counts from zero."""
    return Field(default=0, sa_column_kwargs={"server_default": "0"})


class ListImport(Table, table=True):
    """One uploaded list and how far it is. Days given here hold where a row does not give its own."""

    __tablename__ = "list_import"
    __table_args__ = (
        CheckConstraint(one_of("state", STATES), name="list_import_state"),
        CheckConstraint(one_of("kind", ("qualification", "d_class")), name="list_import_kind"),
        CheckConstraint("(kind = 'qualification') = (category IS NOT NULL)", name="list_import_category"),
        CheckConstraint("(state = 'refused') = (refusal IS NOT NULL)", name="list_import_refusal"),
        Index("list_import_unfinished", "id", postgresql_where=UNFINISHED),
    )

    id: UUID = Field(primary_key=True)
    kind: str
    category: str | None = None
    document_no: str
    issued_on: date | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    dry_run: bool
    file_name: str
    sha256: str
    state: str
    attempts: int = count()
    refusal: dict[str, str] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    sheet: str | None = None
    headers: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    rows_read: int = count()
    rows_done: int = count()
    added: int = count()
    renewed: int = count()
    unchanged: int = count()
    refused: int = count()
    enterprises_changed: int = count()
    sample: list[dict[str, Any]] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    uploaded_by: str
    uploaded_by_name: str
    uploaded_on: date
    uploaded_at: datetime = instant()
    finished_at: datetime | None = instant(optional=True)


class ImportFile(Table, table=True):
    """The uploaded file as it came: the work can begin anew from it, and it is kept as evidence."""

    __tablename__ = "import_file"

    import_id: UUID = Field(primary_key=True, foreign_key="list_import.id")
    content: bytes = Field(sa_type=LargeBinary)


class ImportRow(Table, table=True):
    """One row of a file and what it led to. `cells` (refused rows only) are the originals."""

    __tablename__ = "import_row"
    __table_args__ = (
        CheckConstraint(one_of("outcome", OUTCOMES), name="import_row_outcome"),
        CheckConstraint("(outcome = 'refused') = (problems IS NOT NULL)", name="import_row_problems"),
        Index("import_row_by_outcome", "import_id", "outcome", "row_number"),
    )

    import_id: UUID = Field(primary_key=True, foreign_key="list_import.id")
    row_number: int = Field(primary_key=True)
    outcome: str
    uscc: str | None = None
    name: str | None = None
    document_no: str | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    problems: list[dict[str, str]] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    cells: str | None = None


class Sample(BaseModel):
    """One enterprise whose days on the list change: from which day, on or off, and why."""

    uscc: str
    name: str
    from_day: date
    on_list: bool
    cause: str


class WholeRefused(BaseModel):
    """Why nothing of the file could be taken, and what to do."""

    rule: str
    detail: str


class ImportShown(BaseModel):
    """An import: how far it is, and what it led to (a dry run: what it would lead to)."""

    id: UUID
    kind: Kind
    category: str | None
    document_no: str
    issued_on: date | None
    valid_from: date | None
    valid_to: date | None
    dry_run: bool
    file_name: str
    state: State
    refusal: WholeRefused | None
    sheet: str | None
    rows_read: int
    rows_done: int
    added: int
    renewed: int
    unchanged: int
    refused: int
    enterprises_changed: int
    sample: list[Sample]
    uploaded_by_name: str
    uploaded_on: date


def shown(row: ListImport, language: Language) -> ImportShown:
    """The import as it stands, in the reader's language."""
    told = row.model_dump(include=set(ImportShown.model_fields) - {"refusal", "sample"})
    refusal = row.refusal and WholeRefused(rule=row.refusal["rule"], detail=row.refusal[language])
    return ImportShown(refusal=refusal, sample=row.sample or [], **told)
