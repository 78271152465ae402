"""An enterprise's ceiling (R-24): one row per enterprise holds what is outstanding plus what is approved
and not yet filed, and is locked by whatever changes it, so that two who race for the last yuan meet here.

An approval adds to it, a filing moves from approved to outstanding (no change), repayments, lapses and
withdrawals take from it. A renewal counts once: its approval adds nothing. A reversal adds what never
came in: it states a fact, and the next approval finds the room gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import CheckConstraint, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field

from services.lending import policy
from services.lending.loan import Table, fen
from shared.measures import Measures
from shared.problems import Refusal, uphold
from shared.rules import Text


class Exposure(Table, table=True):
    """What an enterprise has drawn and may draw, at all institutions together, in fen."""

    __table_args__ = (CheckConstraint("committed_fen >= 0", name="exposure_committed"),)

    uscc: str = Field(primary_key=True)
    committed_fen: int = fen(default=0)


class CeilingExceeded(Refusal):
    """No room for this amount under the enterprise's ceiling (R-24)."""

    title = Text("超过单个企业贷款上限", "Enterprise ceiling exceeded")


OPEN = text("INSERT INTO exposure (uscc, committed_fen) VALUES (:uscc, 0) ON CONFLICT DO NOTHING")
LOCK = text("SELECT committed_fen FROM exposure WHERE uscc = :uscc FOR UPDATE")
ADD = text("UPDATE exposure SET committed_fen = committed_fen + :added WHERE uscc = :uscc")
LOCK_ALL = text("SELECT 1 FROM exposure WHERE uscc = ANY(:usccs) ORDER BY uscc FOR UPDATE")
ADD_ALL = text(
    "UPDATE exposure e SET committed_fen = e.committed_fen + c.added "
    "FROM unnest(CAST(:usccs AS text[]), CAST(:added AS bigint[])) AS c(uscc, added) WHERE e.uscc = c.uscc"
)


async def reserve(session: AsyncSession, uscc: str, amount_fen: int, measures: Measures) -> None:
    """Take room for an approval under the row's lock. Raises CeilingExceeded (R-24)."""
    await session.execute(OPEN, {"uscc": uscc})
    committed = (await session.execute(LOCK, {"uscc": uscc})).scalar_one()
    verdict = policy.under_ceiling(committed_fen=committed, added_fen=amount_fen, measures=measures)
    uphold(verdict, CeilingExceeded)
    await session.execute(ADD, {"uscc": uscc, "added": amount_fen})


async def change(session: AsyncSession, changes: Mapping[str, int]) -> None:
    """Add to (or take from) the exposure of enterprises by USCC, locking them in one order. Fen."""
    changes = {uscc: added for uscc, added in changes.items() if added}
    if not changes:
        return
    usccs = sorted(changes)
    if len(usccs) > 1:
        await session.execute(LOCK_ALL, {"usccs": usccs})
    await session.execute(ADD_ALL, {"usccs": usccs, "added": [changes[uscc] for uscc in usccs]})
