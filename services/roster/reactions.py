"""What roster does when others speak."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from services.roster import policy
from services.roster.institution import MOVES, Institution
from services.roster.project_bar import bar_begins, bar_gets_its_end, bar_is_lifted
from services.roster.working_calendar import remember_calendar
from shared.events import (
    ClaimApproved,
    ClaimCancelled,
    CompensationPaid,
    CooperationCancelled,
    InstitutionDisqualified,
    WorkingCalendarSet,
)
from shared.inbox import Reactions
from shared.measures import measures_on
from shared.outbox import announce


async def disqualify(session: AsyncSession, events: Sequence[CooperationCancelled]) -> None:
    """No loan in a whole year: disqualified, and refused for years (R-71, R-12). An institution that was
    admitted anew after the cancelled year's end is not touched by a cancellation told again."""
    for event in events:
        row = await session.get(Institution, event.institution_id, with_for_update=True)
        if row is None or row.admitted_on > event.effective_on or row.state == "disqualified":
            continue
        row.state = MOVES.after(row.state, "disqualify", rule="R-12")
        row.disqualified_on = event.effective_on
        measures = measures_on(date.fromisoformat(event.measures))
        row.refused_until = policy.refused_until(event.effective_on, measures)
        announce(
            session,
            InstitutionDisqualified(
                business_date=event.business_date,
                measures=event.measures,
                institution_id=row.id,
                name=row.name,
                effective_on=event.effective_on,
                refused_until=row.refused_until,
            ),
        )


REACTIONS: Reactions = {
    CooperationCancelled: (disqualify,),
    ClaimApproved: (bar_begins,),
    CompensationPaid: (bar_gets_its_end,),
    ClaimCancelled: (bar_is_lifted,),
}
MEMORY = ("working_calendar",)
REMEMBERS: Reactions = {WorkingCalendarSet: (remember_calendar,)}
