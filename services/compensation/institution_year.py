"""What the fund clears for one institution in one calendar year (R-43): one row, locked by whoever
changes it, so that two claims approved at once never overshoot the cap."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col

from services.compensation.claim import Table, fen


class InstitutionYear(Table, table=True):
    """Cleared for the institution by approvals of this year, in fen; never above the cap it stood under."""

    __tablename__ = "institution_year"
    __table_args__ = (CheckConstraint("cleared_fen BETWEEN 0 AND cap_fen", name="institution_year_cap"),)

    institution_id: UUID = Field(primary_key=True)
    year: int = Field(primary_key=True)
    cleared_fen: int = fen(default=0)
    cap_fen: int = fen()


OPEN = text(
    "INSERT INTO institution_year (institution_id, year, cleared_fen, cap_fen) "
    "VALUES (:institution, :year, 0, :cap) ON CONFLICT (institution_id, year) "
    "DO UPDATE SET cap_fen = greatest(institution_year.cap_fen, excluded.cap_fen)"
)


async def hold(session: AsyncSession, institution_id: UUID, year: int, cap_fen: int) -> InstitutionYear:
    """The year's row, held until the transaction ends; opened when it is the first claim of the year."""
    await session.execute(OPEN, {"institution": institution_id, "year": year, "cap": cap_fen})
    query = select(InstitutionYear).where(
        col(InstitutionYear.institution_id) == institution_id, col(InstitutionYear.year) == year
    )
    held = query.with_for_update().execution_options(populate_existing=True)
    return (await session.execute(held)).scalar_one()


async def cleared(session: AsyncSession, institution_id: UUID, year: int) -> int:
    """What was cleared in the year so far, in fen; a reading without lock, for showing."""
    query = select(col(InstitutionYear.cleared_fen)).where(
        col(InstitutionYear.institution_id) == institution_id, col(InstitutionYear.year) == year
    )
    return (await session.execute(query)).scalar_one_or_none() or 0
