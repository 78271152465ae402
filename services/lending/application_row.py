"""An application as a row: its table, its states and moves, its shape in answers and events (R-20, R-21)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import BigInteger, CheckConstraint, Index, Numeric, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field

from services.lending import exposure
from services.lending.loan import Table, fen, one_of
from services.lending.shown import facts
from shared.events import Terms
from shared.measures import measures_on
from shared.money import Money, Rate
from shared.states import Moves

MOVES = Moves(
    {
        ("applied", "approve"): "approved",
        ("applied", "reject"): "rejected",
        ("applied", "withdraw"): "withdrawn",
        ("approved", "withdraw"): "withdrawn",
        ("approved", "file"): "approved",
        ("approved", "file_last"): "filed",
        ("approved", "lapse"): "lapsed",
    }
)


class Application(Table, table=True):
    """An application and what the institution made of it. `unfiled_fen` is approved and not yet filed."""

    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="application_amount"),
        CheckConstraint("approved_amount_fen <= amount_fen", name="application_approved"),
        CheckConstraint(
            "unfiled_fen BETWEEN 0 AND coalesce(approved_amount_fen, 0)", name="application_rest"
        ),
        CheckConstraint(one_of("state", sorted(MOVES.states)), name="application_state"),
        Index("application_of_institution", "institution_id", "id"),
        Index("application_of_enterprise", "uscc", "id"),
        Index("application_lapsing", "lapses_on", postgresql_where=text("state = 'approved'")),
    )

    id: UUID = Field(primary_key=True)
    number: str = Field(unique=True)
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    amount_fen: int = fen()
    term_months: int
    security_type: str
    purpose: str
    renews: UUID | None = None
    state: str = "applied"
    applied_on: date
    decided_on: date | None = None
    approved_amount_fen: int | None = Field(default=None, sa_type=BigInteger)
    approved_rate: Decimal | None = Field(default=None, sa_type=Numeric(6, 4))
    approved_term_months: int | None = None
    approved_security_type: str | None = None
    unfiled_fen: int = fen(default=0)
    lapses_on: date | None = None
    reason: str | None = None


class ApplicationShown(BaseModel):
    """An application as its parties see it."""

    id: UUID
    number: str
    uscc: str
    enterprise_name: str
    institution_id: UUID
    institution_name: str
    amount: Money
    term_months: int
    security_type: str
    purpose: str
    renews: UUID | None
    state: str
    applied_on: date
    decided_on: date | None
    approved_amount: Money | None
    approved_rate: Rate | None
    approved_term_months: int | None
    approved_security_type: str | None
    unfiled: Money
    lapses_on: date | None
    reason: str | None


def shown(row: Application) -> ApplicationShown:
    """The row as its reply."""
    return ApplicationShown(**facts(row))


def terms(row: Application, *, approved: bool) -> Terms:
    """The terms as applied for, or as approved, for an event."""
    return Terms(
        uscc=row.uscc,
        enterprise_name=row.enterprise_name,
        institution_id=row.institution_id,
        institution_name=row.institution_name,
        amount=(row.approved_amount_fen or 0) if approved else row.amount_fen,
        term_months=(row.approved_term_months if approved else None) or row.term_months,
        security_type=(row.approved_security_type if approved else None) or row.security_type,
    )


def about_application(row: Application, today: date, *, approved: bool = False) -> dict[str, Any]:
    """What every event about an application says."""
    return {
        "application_id": row.id,
        "number": row.number,
        "terms": terms(row, approved=approved),
        "business_date": today,
        "measures": measures_on(today).version,
    }


async def locked(session: AsyncSession, application_id: UUID) -> Application | None:
    """The application, locked until the transaction ends."""
    return await session.get(Application, application_id, with_for_update=True)


async def release(session: AsyncSession, row: Application) -> None:
    """Give back the room of what is approved and not filed (R-24)."""
    await exposure.change(session, {row.uscc: -reserved(row.renews, row.unfiled_fen)})
    row.unfiled_fen = 0


def reserved(renews: UUID | None, unfiled_fen: int) -> int:
    """How much room the unfiled rest of an approval holds: none for a renewal, which counts once."""
    return 0 if renews else unfiled_fen
