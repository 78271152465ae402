"""The enterprise withdraws its application, or what is left of an approval (R-20, R-24)."""

from __future__ import annotations

from uuid import UUID

from services.lending.application_row import (
    MOVES,
    ApplicationShown,
    about_application,
    locked,
    release,
    shown,
)
from shared.events import ApplicationWithdrawn
from shared.outbox import announce
from shared.problems import NotFound, Refusal, refusals
from shared.rules import Text
from shared.service import Caller, Session, Today, router

steps = router("applications")


@steps.post(
    "/v1/applications/{application_id}/withdrawal",
    operation_id="withdraw_application",
    responses=refusals(NotFound, Refusal),
)
async def withdraw_application(
    application_id: UUID, session: Session, who: Caller, today: Today
) -> ApplicationShown:
    """The enterprise withdraws its application, or what is left of the approval; the room is free again."""
    row = await locked(session, application_id)
    if row is None:
        raise NotFound(Text("未找到这一案件", "No such case"))
    who.only_own(row.uscc)
    row.state = MOVES.after(row.state, "withdraw", rule="R-20")
    await release(session, row)
    announce(session, ApplicationWithdrawn(**about_application(row, today)))
    return shown(row)
