"""The fund's ledger: every movement a balanced double entry, only ever appended (R-48).

One row is one movement: it takes an amount from one account and puts it into another, so it is balanced
by its form. `appropriated` and `recovered` are where money comes from; `available`, `reserved`, `paid`
and `written_off` are where it is. A balance is the sum of the entries and nothing else, and at all times

    appropriated + recovered = available + reserved + paid (of which some is written off).

A recovery enters when its receipt is confirmed: only then is the money in the fund. A share of the costs
(R-60) leaves the fund when it is paid. The database refuses to change or remove an entry, and an entry
that would leave an account below zero; whoever appends holds the fund's row.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Identity, Index, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col

from services.compensation.claim import Table, fen
from shared.problems import Refusal
from shared.rules import Text

Kind = Literal["appropriation", "reservation", "release", "payment", "recovery", "cost_share", "write_off"]
MOVEMENTS: dict[str, tuple[str, str]] = {
    "appropriation": ("appropriated", "available"),
    "reservation": ("available", "reserved"),
    "release": ("reserved", "available"),
    "payment": ("reserved", "paid"),
    "recovery": ("recovered", "available"),
    "cost_share": ("available", "paid"),
    "write_off": ("paid", "written_off"),
}
SOURCES = ("appropriated", "recovered")
ALLOWED = " OR ".join(
    f"(kind = '{kind}' AND from_account = '{source}' AND to_account = '{target}')"
    for kind, (source, target) in MOVEMENTS.items()
)


class Fund(Table, table=True):
    """The one row that whoever moves the fund's money locks."""

    __table_args__ = (CheckConstraint("single", name="fund_single"),)

    single: bool = Field(primary_key=True, default=True)


class FundEntry(Table, table=True):
    """One movement, in fen. `booked_on` is the business day it was recorded, `value_date` its voucher's."""

    __tablename__ = "fund_entry"
    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="fund_entry_amount"),
        CheckConstraint(ALLOWED, name="fund_entry_movement"),
        CheckConstraint("(kind = 'appropriation') = (claim_id IS NULL)", name="fund_entry_claim"),
        Index("fund_entry_day", "booked_on", "id"),
        Index("fund_entry_claim_id", "claim_id", "id"),
    )

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    kind: str
    from_account: str
    to_account: str
    amount_fen: int = fen()
    booked_on: date
    value_date: date
    claim_id: UUID | None = Field(default=None, foreign_key="claim.id")
    recovery_id: UUID | None = Field(default=None, foreign_key="recovery.id")
    document: str
    recorded_by: str
    recorded_at: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()),
    )


class FundInsufficient(Refusal):
    """The fund's unreserved balance does not cover its share (R-44)."""

    title = Text("风险补偿金余额不足", "Fund insufficient")


@dataclass(frozen=True, slots=True)
class Voucher:
    """What a movement rests on."""

    value_date: date
    document: str
    recorded_by: str


@dataclass(frozen=True, slots=True)
class Balances:
    """The accounts, in fen. `paid` is all that was ever paid out; `written_off` of it is lost for good."""

    appropriated: int
    recovered: int
    available: int
    reserved: int
    paid: int
    written_off: int


BALANCES = tuple(account.name for account in fields(Balances))
LOCK = text("SELECT single FROM fund FOR UPDATE")


async def lock(session: AsyncSession) -> None:
    """Hold the fund until the transaction ends: who comes second sees what the first did."""
    await session.execute(LOCK)


def book(
    session: AsyncSession,
    kind: Kind,
    amount_fen: int,
    today: date,
    voucher: Voucher,
    *,
    claim_id: UUID | None = None,
    recovery_id: UUID | None = None,
) -> FundEntry:
    """Append one movement; the caller holds the fund (`lock`)."""
    source, target = MOVEMENTS[kind]
    entry = FundEntry(
        kind=kind,
        from_account=source,
        to_account=target,
        amount_fen=amount_fen,
        booked_on=today,
        value_date=voucher.value_date,
        claim_id=claim_id,
        recovery_id=recovery_id,
        document=voucher.document,
        recorded_by=voucher.recorded_by,
    )
    session.add(entry)
    return entry


async def balances(session: AsyncSession, on: date | None = None) -> Balances:
    """The accounts at the end of a business day (of now, without one): sums of entries."""
    query = select(
        col(FundEntry.from_account), col(FundEntry.to_account), func.sum(col(FundEntry.amount_fen))
    ).group_by(col(FundEntry.from_account), col(FundEntry.to_account))
    if on is not None:
        query = query.where(col(FundEntry.booked_on) <= on)
    sums = dict.fromkeys(BALANCES, 0)
    for source, target, amount in (await session.execute(query)).all():
        sums[source] += int(amount) if source in SOURCES else -int(amount)
        sums[target] += int(amount)
    return Balances(**sums | {"paid": sums["paid"] + sums["written_off"]})
