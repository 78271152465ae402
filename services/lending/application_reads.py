"""Questions about applications, and about the room under an enterprise's ceiling: SELECTs only."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel
from starlette.responses import Response

from services.lending.application_row import Application, ApplicationShown, shown
from services.lending.exposure import Exposure
from services.lending.listing import chosen, newest_first, own
from shared.measures import measures_on
from shared.money import Money
from shared.pages import Cursor, Limit, Page
from shared.problems import NotFound, refusals
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("applications")


class ExposureShown(BaseModel):
    """An enterprise's ceiling and what is used of it by loans and unfiled approvals (R-24)."""

    uscc: str
    committed: Money
    ceiling: Money
    room: Money


class ApplicationFilter(BaseModel):
    """Which applications to list; members left out do not filter."""

    uscc: str | None = None
    institution_id: UUID | None = None
    state: Literal["applied", "approved", "filed", "lapsed", "rejected", "withdrawn"] | None = None


@steps.get("/v1/applications", operation_id="list_applications", response_model=Page[ApplicationShown])
async def list_applications(
    session: Session,
    who: Caller,
    wanted: Annotated[ApplicationFilter, Query()],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Applications, newest first: an enterprise's or institution's own, or all."""
    where = [*own(who, Application), *chosen(Application, wanted)]
    return await newest_first(session, Application, ApplicationShown, where, limit, cursor)


@steps.get("/v1/applications/{application_id}", operation_id="get_application", responses=refusals(NotFound))
async def get_application(application_id: UUID, session: Session, who: Caller) -> ApplicationShown:
    """One application and what became of it."""
    row = await session.get(Application, application_id)
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    who.only_own(row.uscc, row.institution_id)
    return shown(row)


@steps.get("/v1/exposures/{uscc}", operation_id="get_exposure", responses=refusals(NotFound))
async def get_exposure(uscc: str, session: Session, who: Caller, today: Today) -> ExposureShown:
    """An enterprise's ceiling, and the room that is left under it."""
    who.only_own(uscc)
    row = await session.get(Exposure, uscc)
    committed, ceiling = row.committed_fen if row else 0, measures_on(today).enterprise_ceiling_fen
    return ExposureShown(uscc=uscc, committed=committed, ceiling=ceiling, room=max(0, ceiling - committed))
