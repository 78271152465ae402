"""Questions about registrations: personal data is masked, except for the enterprise itself (R-08)."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import literal, select
from sqlmodel import col
from starlette.responses import Response

from services.roster.registration import MASK, Registration, RegistrationShown, masked_of
from shared.pages import Cursor, Limit, Page, page
from shared.problems import NotFound, refusals
from shared.rules import Text
from shared.service import Caller, Session, router
from shared.uscc import Uscc

steps = router("registrations")


@steps.get("/v1/registrations", operation_id="list_registrations", response_model=Page[RegistrationShown])
async def list_registrations(
    session: Session, who: Caller, uscc: Uscc | None = None, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Registered enterprises, newest first; personal data masked."""
    personal = {"contact", "legal_representative", "phone"}
    table = Registration.__table__.c  # type: ignore[attr-defined]
    stored = [table[name] for name in RegistrationShown.model_fields]
    columns = [literal(MASK).label(column.name) if column.name in personal else column for column in stored]
    query = select(*columns)
    if who.whose == "own":
        query = query.where(col(Registration.uscc) == who.party)
    if uscc:
        query = query.where(col(Registration.uscc) == uscc)
    return await page(
        session, query, order=[col(Registration.id)], limit=limit, cursor=cursor, descending=True
    )


@steps.get(
    "/v1/registrations/{registration_id}", operation_id="get_registration", responses=refusals(NotFound)
)
async def get_registration(registration_id: UUID, session: Session, who: Caller) -> RegistrationShown:
    """One registration; its personal data only for the enterprise itself (the office asks for it by a
    disclosure, which is audited)."""
    row = await session.get(Registration, registration_id)
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    who.only_own(row.uscc)
    own = "enterprise" in who.roles and who.party == row.uscc
    return RegistrationShown(**(row.model_dump() if own else masked_of(row)))
