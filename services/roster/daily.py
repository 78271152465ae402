"""What a new business day brings: expiries, the start and end of D-class periods (R-05), exits (R-11).

The days on the list are known long before; what the day itself changes is told on the day. Only
enterprises with a record that begins or ends today are looked at. Doing a day twice is kept out by the
day's own note; what it says is the same either way.
"""

from __future__ import annotations

from datetime import date, datetime, time

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.roster.exit import complete_exits
from services.roster.support_list import WHY, announce_changes
from shared.clock import SHANGHAI

TURNING = text(
    """
    SELECT e.uscc FROM enterprise e WHERE e.uscc IN (
        SELECT uscc FROM qualification WHERE superseded_on IS NULL AND lower(days) = :day
        UNION SELECT uscc FROM qualification WHERE superseded_on IS NULL AND upper(days) = :day
        UNION SELECT uscc FROM d_class_period WHERE superseded_on IS NULL AND lower(days) = :day
        UNION SELECT uscc FROM d_class_period WHERE superseded_on IS NULL AND upper(days) = :day
    ) AND (e.listed @> CAST(:day AS date)) <> (e.listed @> (CAST(:day AS date) - 1))
    ORDER BY e.uscc FOR NO KEY UPDATE
    """
)
WHY_TODAY = WHY.format(
    uscc="e.uscc",
    on="e.listed @> CAST(:day AS date)",
    day="CAST(:day AS date)",
    known_q="q.superseded_on IS NULL",
    known_d="d.superseded_on IS NULL",
)
CHANGE = text(
    f"""
    CREATE TEMP TABLE change ON COMMIT DROP AS
    SELECT e.uscc, e.name, e.listed AS after, CAST(:day AS date) AS from_day, why.cause, why.document
    FROM enterprise e CROSS JOIN LATERAL ({WHY_TODAY}) AS why
    WHERE e.uscc = ANY(CAST(:usccs AS text[]))
      AND (e.listed @> CAST(:day AS date)) <> (e.listed @> (CAST(:day AS date) - 1))
      AND NOT EXISTS (SELECT FROM list_change told WHERE told.uscc = e.uscc
                      AND told.recorded_on = :day AND told.from_day = :day)
    """  # noqa: S608  (our own SQL)
)


async def daily(session: AsyncSession, day: date) -> None:
    """The work of one business day."""
    await complete_exits(session, day)
    await tell_what_the_day_changes(session, day)


async def tell_what_the_day_changes(session: AsyncSession, day: date) -> None:
    """Announce every enterprise that comes on the list or goes off it today, with its cause; but not what
    was decided and told today already, before this work came to it."""
    usccs = (await session.execute(TURNING, {"day": day})).scalars().all()
    if usccs:
        await session.execute(CHANGE, {"day": day, "usccs": usccs})
        begun = datetime.combine(day, time.min, SHANGHAI)
        await announce_changes(session, day, begun)
