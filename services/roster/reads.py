"""Questions about enterprises and the support list: as of any day, as known on any day (R-03 to R-05)."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path, Query
from pydantic import BaseModel
from sqlalchemy import ColumnElement, Date, Select, and_, bindparam, cast, exists, func, or_, select, text
from sqlmodel import col
from starlette.responses import Response

from services.roster.enterprise import DClassPeriod, Enterprise, ListChange, Qualification
from services.roster.registration import Registration
from services.roster.revocation import (
    DClassPeriodShown,
    QualificationShown,
    d_class_period_shown,
    qualification_shown,
)
from services.roster.support_list import LISTED_AS_KNOWN, PERIODS, WHY
from shared.events import Period
from shared.pages import Cursor, Limit, Page, page
from shared.problems import NotFound, refusals
from shared.rules import Text as Words
from shared.service import Caller, Session, Today, router
from shared.uscc import Uscc

steps = router("enterprises")
Cause = Literal["qualification", "expiry", "revocation", "d_class_start", "d_class_end", "renewal"]
Code = Annotated[Uscc, Path(description="Unified social credit code.")]
KnownOn = Annotated[
    date | None, Query(description="As it was known at the end of this day; as known now when left out.")
]


class EnterpriseInList(BaseModel):
    """An enterprise in the list: its days on the support list, and whether the day asked for is one."""

    uscc: str
    name: str
    on: date
    on_list: bool
    listed: list[Period]
    categories: list[str]


class EnterpriseShown(BaseModel):
    """An enterprise with the records its days on the list follow from, as known now."""

    uscc: str
    name: str
    on_list: bool
    listed: list[Period]
    registered_on: date | None
    qualifications: list[QualificationShown]
    d_class_periods: list[DClassPeriodShown]


class Turn(BaseModel):
    """A day on which the enterprise comes on the list or goes off it, why, and by which document."""

    day: date
    on_list: bool
    cause: Cause | None
    document: str | None


class Announced(BaseModel):
    """A change as it was announced: from which day, why, and known since when."""

    id: UUID
    recorded_on: date
    from_day: date
    on_list: bool
    cause: Cause
    document: str
    listed: list[Period]


class ListHistory(BaseModel):
    """An enterprise's days on the list and each change of them, as known on a day."""

    uscc: str
    name: str
    known_on: date
    listed: list[Period]
    turns: list[Turn]
    announced: list[Announced]


class EnterpriseFilter(BaseModel):
    """Which enterprises; members left out do not filter."""

    listed_on: date | None = None
    known_on: date | None = None
    category: str | None = None
    q: str | None = None


def _known_calendar(known_on: date | None) -> ColumnElement[Any]:
    """Each enterprise's days as known now, or as last announced up to the end of a day."""
    if known_on is None:
        return col(Enterprise.listed)  # type: ignore[return-value]
    last = (
        select(col(ListChange.listed))
        .where(col(ListChange.uscc) == col(Enterprise.uscc), col(ListChange.recorded_on) <= known_on)
        .order_by(col(ListChange.recorded_on).desc(), col(ListChange.id).desc())
        .limit(1)
    )
    return func.coalesce(last.correlate(Enterprise).scalar_subquery(), text("CAST('{}' AS datemultirange)"))


def _holding(on: date, known_on: date | None) -> ColumnElement[bool]:
    """The qualifications of the enterprise that hold on a day, by the versions known then or now."""
    known = (
        col(Qualification.superseded_on).is_(None)
        if known_on is None
        else and_(
            col(Qualification.recorded_on) <= known_on,
            func.coalesce(col(Qualification.superseded_on) > known_on, True),
        )
    )
    return and_(col(Qualification.uscc) == col(Enterprise.uscc), col(Qualification.days).contains(on), known)


def _matching(q: str) -> ColumnElement[bool]:
    return or_(
        col(Enterprise.name).contains(q, autoescape=True),
        col(Enterprise.uscc).startswith(q.upper(), autoescape=True),
    )


@steps.get("/v1/enterprises", operation_id="list_enterprises", response_model=Page[EnterpriseInList])
async def list_enterprises(
    session: Session,
    who: Caller,
    today: Today,
    wanted: Annotated[EnterpriseFilter, Query()],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Enterprises by code: all that are known, or those on the list on a day, as known on any day."""
    on = wanted.listed_on or today
    known = _known_enterprises(wanted, on, who.party if who.whose == "own" else None).subquery("known")
    day = cast(bindparam("day", on, unique=True), Date)
    query = select(
        known.c.uscc,
        known.c.name,
        day.label("on"),
        known.c.listed.contains(day).label("on_list"),
        text(PERIODS.format(days="known.listed").strip() + " AS listed"),
        known.c.categories,
    )
    if wanted.listed_on:
        query = query.where(known.c.listed.contains(day))
    return await page(session, query, order=[known.c.uscc], limit=limit, cursor=cursor)


def _known_enterprises(wanted: EnterpriseFilter, on: date, only: str | None) -> Select[*tuple[Any, ...]]:
    """The enterprises wanted, with their days on the list and the categories that hold on a day."""
    holding = _holding(on, wanted.known_on)
    where: list[ColumnElement[bool]] = []
    if only is not None:
        where.append(col(Enterprise.uscc) == only)
    if wanted.category:
        where.append(exists().where(holding, col(Qualification.category) == wanted.category))
    if wanted.q:
        where.append(_matching(wanted.q))
    categories = (
        select(func.coalesce(func.json_agg(col(Qualification.category).distinct()), text("'[]'")))
        .where(holding)
        .correlate(Enterprise)
        .scalar_subquery()
    )
    return select(
        col(Enterprise.uscc).label("uscc"),
        col(Enterprise.name).label("name"),
        _known_calendar(wanted.known_on).label("listed"),
        categories.label("categories"),
    ).where(*where)


@steps.get("/v1/enterprises/{uscc}", operation_id="get_enterprise", responses=refusals(NotFound))
async def get_enterprise(uscc: Code, session: Session, who: Caller, today: Today) -> EnterpriseShown:
    """One enterprise with its qualifications and D-class periods, as known now."""
    who.only_own(uscc)
    found = (await session.execute(ONE, {"uscc": uscc, "today": today})).first()
    if found is None:
        raise NotFound(Words("未找到这一案件", "No such case"))
    held = select(Qualification).where(
        col(Qualification.uscc) == uscc, col(Qualification.superseded_on).is_(None)
    )
    barred = select(DClassPeriod).where(
        col(DClassPeriod.uscc) == uscc, col(DClassPeriod.superseded_on).is_(None)
    )
    registered = select(col(Registration.registered_on)).where(col(Registration.uscc) == uscc)
    qualifications = (await session.execute(held.order_by(col(Qualification.valid_from)))).scalars()
    periods = (await session.execute(barred.order_by(col(DClassPeriod.valid_from)))).scalars()
    return EnterpriseShown(
        uscc=uscc,
        name=found.name,
        on_list=found.on_list,
        listed=found.listed,
        registered_on=(await session.execute(registered)).scalar_one_or_none(),
        qualifications=[qualification_shown(row) for row in qualifications],
        d_class_periods=[d_class_period_shown(row) for row in periods],
    )


ONE = text(
    f"SELECT name, listed @> CAST(:today AS date) AS on_list, {PERIODS.format(days='listed')} AS listed "  # noqa: S608
    "FROM enterprise WHERE uscc = :uscc"
)
KNOWN_Q = "q.recorded_on <= :known AND coalesce(q.superseded_on > :known, true)"
KNOWN_D = KNOWN_Q.replace("q.", "d.")
HISTORY = text(
    f"""
    WITH known AS (
        SELECT e.uscc, e.name, {LISTED_AS_KNOWN.format(uscc="e.uscc")} AS days
        FROM enterprise e WHERE e.uscc = :uscc
    ), turn AS (
        SELECT known.uscc, lower(r) AS day, true AS on_list FROM known, unnest(known.days) AS r
        UNION ALL
        SELECT known.uscc, upper(r), false FROM known, unnest(known.days) AS r WHERE NOT upper_inf(r)
    )
    SELECT known.name, {PERIODS.format(days="known.days")} AS listed,
        (SELECT coalesce(json_agg(json_build_object('day', turn.day, 'on_list', turn.on_list,
                    'cause', why.cause, 'document', why.document) ORDER BY turn.day), '[]')
         FROM turn LEFT JOIN LATERAL ({
        WHY.format(uscc="turn.uscc", on="turn.on_list", day="turn.day", known_q=KNOWN_Q, known_d=KNOWN_D)
    }) AS why ON true) AS turns,
        (SELECT coalesce(json_agg(json_build_object('id', c.id, 'recorded_on', c.recorded_on,
                    'from_day', c.from_day, 'on_list', c.on_list, 'cause', c.cause,
                    'document', c.document, 'listed', {PERIODS.format(days="c.listed")})
                    ORDER BY c.recorded_on, c.id), '[]')
         FROM list_change c WHERE c.uscc = known.uscc AND c.recorded_on <= :known) AS announced
    FROM known
    """  # noqa: S608  (our own SQL)
)


@steps.get(
    "/v1/enterprises/{uscc}/list-history", operation_id="get_list_history", responses=refusals(NotFound)
)
async def get_list_history(
    uscc: Code, session: Session, who: Caller, today: Today, known_on: KnownOn = None
) -> ListHistory:
    """When the enterprise came on the list and went off it, why, and by which document; and each change
    as it was announced. With `known_on`: as the records stood on that day."""
    who.only_own(uscc)
    known = known_on or today
    row = (await session.execute(HISTORY, {"uscc": uscc, "known": known})).first()
    if row is None:
        raise NotFound(Words("未找到这一案件", "No such case"))
    found = {name: _read(value) for name, value in row._mapping.items()}
    return ListHistory(uscc=uscc, known_on=known, **found)


def _read(value: Any) -> Any:
    """JSON that came as text."""
    return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value
