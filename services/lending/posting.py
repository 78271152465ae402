"""Postings: what an institution sends of money received, and the record of it, read and written as a set
(R-27). The institution's reference makes a posting one, however often it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.lending.claim import Claim
from services.lending.loan import Repayment
from shared import audit
from shared.problems import Refusal
from shared.rules import Text


class ReferenceUsed(Refusal):
    """The reference stands for another repayment (R-27)."""

    rule = "R-27"
    article = "M-六"
    title = Text("流水号已用于另一笔还款", "Reference used for another repayment")


class MoreThanOutstanding(Refusal):
    """More principal than is outstanding (R-27)."""

    title = Text("超过贷款余额", "More than outstanding")


class ValueDateImpossible(Refusal):
    """Before the disbursement or in the future (R-27)."""

    title = Text("入账日不符", "Value date not possible")


class ItIsARecovery(Refusal):
    """A claim was approved: the money is a recovery (R-60)."""

    title = Text("应按追偿登记", "It is a recovery")


class NotReversible(Refusal):
    """This repayment cannot be reversed (R-27)."""

    rule = "R-27"
    article = "M-六"
    title = Text("不能冲正", "Not reversible")


@dataclass(frozen=True, slots=True)
class Line:
    """One posting: money received on a loan, or (with `reverses`) the undoing of one. Fen."""

    loan_id: UUID
    reference: str
    value_date: date
    principal_fen: int = 0
    interest_fen: int = 0
    reverses: UUID | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """The repayment of a line; `known`: it was recorded before by the same reference."""

    row: Repayment
    known: bool = False


def same_posting(known: Repayment, line: Line) -> Repayment:
    """The posting recorded under this reference, if the line says the same. Raises ReferenceUsed."""
    as_sent = (line.loan_id, line.principal_fen, line.interest_fen, line.value_date)
    as_kept = (known.loan_id, known.principal_fen, known.interest_fen, known.value_date)
    if known.reverses == line.reverses and (line.reverses or as_sent == as_kept):
        return known
    raise ReferenceUsed(
        Text(
            f"流水号 {line.reference} 已登记过内容不同的一笔；更正请冲正后用新流水号重记",
            f"The reference {line.reference} stands for another posting; reverse it and post with a new one",
        ),
        repayment_id=str(known.id),
    )


async def earlier(session: AsyncSession, institution: UUID, lines: Sequence[Line]) -> list[Repayment]:
    """What is on record under the lines' references, what they reverse, and reversals of that."""
    references = [line.reference for line in lines]
    named = [line.reverses for line in lines if line.reverses]
    mine = (col(Repayment.institution_id) == institution) & col(Repayment.reference).in_(references)
    also = (col(Repayment.id).in_(named), col(Repayment.reverses).in_(named)) if named else ()
    return list((await session.execute(select(Repayment).where(or_(mine, *also)))).scalars())


async def standing_claims(session: AsyncSession, lines: Sequence[Line]) -> dict[UUID, str]:
    """The state of the approved or paid claim of each loan that has one."""
    loans = {line.loan_id for line in lines}
    query = select(col(Claim.loan_id), col(Claim.state)).where(
        col(Claim.loan_id).in_(loans), col(Claim.state) != "cancelled"
    )
    return {row.loan_id: row.state for row in await session.execute(query)}


async def write(session: AsyncSession, rows: Sequence[Repayment]) -> None:
    """Insert the postings in one round trip."""
    if not rows:
        return
    values: list[dict[str, Any]] = [row.model_dump() for row in rows]
    await session.execute(insert(Repayment), values)
    for value in values:
        audit.note(session, str(value["id"]), table="repayment", after=value)
