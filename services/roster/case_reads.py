"""Questions about nominations, admissions, institutions and guarantors: SELECTs only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import ColumnElement, or_, select
from sqlmodel import col
from starlette.responses import Response

from services.roster import admission_case, nomination_case
from services.roster.admission_case import Admission, AdmissionShown
from services.roster.conference import State
from services.roster.enterprise import Table
from services.roster.institution import Guarantor, GuarantorShown, Institution, InstitutionShown
from services.roster.nomination_case import Nomination, NominationShown
from shared.pages import Cursor, Limit, Page, page
from shared.problems import NotFound, refusals
from shared.rules import Text
from shared.service import Caller, Session, Today, router
from shared.uscc import Uscc

steps = router("roster")
Row = TypeVar("Row", bound=Table)


class CaseFilter(BaseModel):
    """Which cases to list; members left out do not filter."""

    state: State | None = None


class NominationFilter(CaseFilter):
    """Which nominations to list."""

    uscc: Uscc | None = None


class NominationInList(BaseModel):
    """A nomination without its ballots."""

    id: UUID
    number: str
    uscc: str
    name: str
    nominated_by: str
    state: State
    opened_on: date
    decided_on: date | None


class AdmissionInList(BaseModel):
    """An admission without its ballots."""

    id: UUID
    number: str
    institution_id: UUID
    name: str
    state: State
    opened_on: date
    decided_on: date | None


def _columns(table: type[Table], shown: type[BaseModel]) -> list[ColumnElement[Any]]:
    stored = table.__table__.c  # type: ignore[attr-defined]
    return [stored[name] for name in shown.model_fields]


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    return row


async def _newest_first(
    session: Session,
    table: type[Table],
    shown: type[BaseModel],
    where: Sequence[ColumnElement[bool]],
    limit: int,
    cursor: str | None,
) -> Response:
    """A page of a table's rows, the newest first (ids are ordered by time)."""
    query = select(*_columns(table, shown)).where(*where)
    order = [table.__table__.c.id]  # type: ignore[attr-defined]
    return await page(session, query, order=order, limit=limit, cursor=cursor, descending=True)


@steps.get("/v1/nominations", operation_id="list_nominations", response_model=Page[NominationInList])
async def list_nominations(
    session: Session,
    who: Caller,
    wanted: Annotated[NominationFilter, Query()],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Nominations, newest first: all, or those about or by the asking party."""
    where: list[ColumnElement[bool]] = []
    if who.whose == "own":
        own = (col(Nomination.uscc) == who.party, col(Nomination.nominated_by_party) == who.party)
        where.append(or_(*own))
    if wanted.uscc:
        where.append(col(Nomination.uscc) == wanted.uscc)
    if wanted.state:
        where.append(col(Nomination.state) == wanted.state)
    return await _newest_first(session, Nomination, NominationInList, where, limit, cursor)


@steps.get("/v1/nominations/{nomination_id}", operation_id="get_nomination", responses=refusals(NotFound))
async def get_nomination(nomination_id: UUID, session: Session, who: Caller, today: Today) -> NominationShown:
    """One nomination with every unit's ballot."""
    row = _found(await session.get(Nomination, nomination_id))
    who.only_own(row.uscc, row.nominated_by_party)
    return await nomination_case.shown(session, row, today)


@steps.get("/v1/admissions", operation_id="list_admissions", response_model=Page[AdmissionInList])
async def list_admissions(
    session: Session,
    who: Caller,
    wanted: Annotated[CaseFilter, Query()],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Applications for admission, newest first: all, or the institution's own."""
    where: list[ColumnElement[bool]] = []
    if who.whose == "own":
        where.append(col(Admission.institution_id) == who.party_id)
    if wanted.state:
        where.append(col(Admission.state) == wanted.state)
    return await _newest_first(session, Admission, AdmissionInList, where, limit, cursor)


@steps.get("/v1/admissions/{admission_id}", operation_id="get_admission", responses=refusals(NotFound))
async def get_admission(admission_id: UUID, session: Session, who: Caller, today: Today) -> AdmissionShown:
    """One application for admission with every unit's ballot."""
    row = _found(await session.get(Admission, admission_id))
    who.only_own(row.institution_id)
    return await admission_case.shown(session, row, today)


@steps.get("/v1/institutions", operation_id="list_institutions", response_model=Page[InstitutionShown])
async def list_institutions(
    session: Session,
    active_on: Annotated[date | None, Query(description="Only those that take new business then.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The cooperating institutions, by name. Public: an enterprise chooses among them."""
    query = select(*_columns(Institution, InstitutionShown))
    if active_on:
        ended = or_(
            col(Institution.exit_on) <= active_on,
            col(Institution.disqualified_on) <= active_on,
        )
        query = query.where(col(Institution.admitted_on) <= active_on, ended.isnot(True))
    order = [col(Institution.name), col(Institution.id)]
    return await page(session, query, order=order, limit=limit, cursor=cursor)


@steps.get("/v1/institutions/{institution_id}", operation_id="get_institution", responses=refusals(NotFound))
async def get_institution(institution_id: UUID, session: Session) -> InstitutionShown:
    """One institution and whether it takes new business."""
    return InstitutionShown(**_found(await session.get(Institution, institution_id)).model_dump())


@steps.get("/v1/guarantors", operation_id="list_guarantors", response_model=Page[GuarantorShown])
async def list_guarantors(session: Session, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The guarantors, by name. Public: a guarantee loan names one of them."""
    query = select(*_columns(Guarantor, GuarantorShown))
    order = [col(Guarantor.name), col(Guarantor.id)]
    return await page(session, query, order=order, limit=limit, cursor=cursor)


@steps.get("/v1/guarantors/{guarantor_id}", operation_id="get_guarantor", responses=refusals(NotFound))
async def get_guarantor(guarantor_id: UUID, session: Session) -> GuarantorShown:
    """One guarantor and whether it takes new guarantees."""
    return GuarantorShown(**_found(await session.get(Guarantor, guarantor_id)).model_dump())
