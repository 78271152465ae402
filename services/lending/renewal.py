"""Renewal without repaying principal (无还本续贷, R-26): a filing that names the loan it replaces.

The renewed principal passes from the old loan to the new one, so the enterprise's exposure counts it
once (R-24). A loan renewed whole closes as `renewed`; of one renewed in part the rest stays outstanding
under its own contract. Interest that had run up until then stays owed on the old loan and can be posted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.lending import policy
from services.lending.account import Account, about
from services.lending.drawdown import FileLoan
from services.lending.loan import MOVES, Loan
from shared.events import LoanRenewed
from shared.outbox import announce
from shared.problems import Refusal, uphold
from shared.rules import Text


class RenewalRefused(Refusal):
    """The loan named cannot be renewed like this (R-26)."""

    title = Text("不能续贷", "Renewal refused")


RENEWABLE = text(
    "SELECT outstanding_fen, next_due_on FROM loan WHERE id = :id AND uscc = :uscc "
    "AND institution_id = :institution AND state = 'active'"
)


async def renewal_possible(
    session: AsyncSession, renews: UUID, parties: tuple[str, UUID], amount_fen: int, today: date
) -> None:
    """R-26, as far as it can be told before the filing; `parties` are USCC and institution. Raises
    RenewalRefused."""
    values = {"id": renews, "uscc": parties[0], "institution": parties[1]}
    old = (await session.execute(RENEWABLE, values)).one_or_none()
    verdict = policy.may_renew(
        same_parties=old is not None,
        amount_fen=amount_fen,
        outstanding_fen=old.outstanding_fen if old else 0,
        overdue=old is not None and policy.is_overdue(old.next_due_on, today),
    )
    uphold(verdict, RenewalRefused)


def uphold_renewal(line: FileLoan, facts: Row[Any], renewed: Mapping[UUID, Account], today: date) -> None:
    """The conditions of a renewal, for a filing that is one or was approved as one. Raises
    RenewalRefused; a loan of others is refused as one that does not exist."""
    if facts.renews and facts.renews != line.renews:
        raise RenewalRefused(
            Text(
                "该审批用于续贷，备案须在 renews 写明原贷款",
                "Approved as a renewal: name that loan in renews",
            ),
            rule="R-26",
            article="M-四(一)",
            renews=str(facts.renews),
        )
    if line.renews is None:
        return
    old = renewed.get(line.renews)
    same = old is not None and (old.loan.uscc, old.loan.institution_id) == (facts.uscc, facts.institution_id)
    verdict = policy.may_renew(
        same_parties=same,
        amount_fen=line.amount,
        outstanding_fen=old.loan.outstanding_fen if old else 0,
        overdue=same and old is not None and old.overdue_since(today) is not None,
    )
    uphold(verdict, RenewalRefused)
    assert old is not None
    MOVES.after(old.loan.state, "renew", rule="R-26")
    if line.disbursed_on <= old.loan.disbursed_on:
        raise RenewalRefused(
            Text("续贷须晚于原贷款放款日", "A renewal is disbursed after the loan it replaces"),
            rule="R-26",
            article="M-四(一)",
        )


def close_renewed(session: AsyncSession, loan: Loan, renewed: Mapping[UUID, Account], today: date) -> None:
    """Pass the principal on from the old loan, and close it when nothing is left of it."""
    if loan.renews is None:
        return
    old = renewed[loan.renews]
    loan.renewals = old.loan.renewals + 1
    old.receive(loan.amount_fen, 0, loan.disbursed_on)
    closed = old.loan.outstanding_fen == 0
    old.move("renew" if closed else "renew_in_part", "R-26")
    old.loan.renewed_by = loan.id
    position = old.next_position(today)
    announce(
        session, LoanRenewed(renewed_by=loan.id, closed=closed, position=position, **about(old.loan, today))
    )
