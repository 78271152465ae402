"""What a posting does to a loan's account, and what follows: cure, settlement, reopening (R-27, R-32, R-49).

Lines are recorded one after the other on the locked accounts, in memory, and written together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from services.lending import account_rows, exposure, policy, posting
from services.lending.account import Account, about
from services.lending.cure import cure_or_settle
from services.lending.loan import Repayment
from services.lending.posting import (
    ItIsARecovery,
    Line,
    MoreThanOutstanding,
    NotReversible,
    Posted,
    ValueDateImpossible,
    same_posting,
)
from services.lending.working_calendar import working_days
from shared.calendar import WorkingDays
from shared.database import new_id
from shared.events import RepaymentRecorded, RepaymentReversed
from shared.money import format_money
from shared.outbox import announce
from shared.problems import NotFound, Refusal, uphold
from shared.rules import Text


@dataclass
class Ledger:
    """The accounts and earlier postings that the lines touch, and what they add."""

    session: AsyncSession
    institution: UUID
    today: date
    accounts: Mapping[UUID, Account]
    claims: Mapping[UUID, str]
    calendar: WorkingDays
    by_reference: dict[str, Repayment]
    by_id: dict[UUID, Repayment]
    reversed: set[UUID]
    added: list[Repayment] = field(default_factory=list)
    freed: dict[str, int] = field(default_factory=dict)

    def post(self, line: Line) -> Posted:
        """Record one line. Raises the refusal of the first condition that is not met."""
        held = self.accounts.get(line.loan_id)
        if held is None or held.loan.institution_id != self.institution:
            raise NotFound(Text("未找到这一案件", "No such case"))
        known = self.by_reference.get(line.reference)
        if known is not None:
            return Posted(same_posting(known, line), known=True)
        row = self._reversal(held, line) if line.reverses else self._repayment(held, line)
        self.added.append(row)
        self.by_reference[row.reference] = self.by_id[row.id] = row
        released = -row.principal_fen
        self.freed[held.loan.uscc] = self.freed.get(held.loan.uscc, 0) + released
        return Posted(row)

    def _repayment(self, held: Account, line: Line) -> Repayment:
        loan = held.loan
        value_date = line.value_date
        possible = policy.value_date_possible(value_date, loan.disbursed_on, self.today)
        uphold(possible, ValueDateImpossible)
        self._uphold_no_claim(held, line, value_date)
        held.move("record_repayment", "R-27")
        within = policy.within_outstanding(
            principal_fen=line.principal_fen, outstanding_fen=loan.outstanding_fen
        )
        uphold(within, MoreThanOutstanding, outstanding=format_money(loan.outstanding_fen))
        row = self._row(line, line.principal_fen, line.interest_fen, value_date)
        held.receive(line.principal_fen, line.interest_fen, value_date)
        position = held.next_position(self.today)
        event = RepaymentRecorded(
            repayment_id=row.id,
            reference=row.reference,
            principal=row.principal_fen,
            interest=row.interest_fen,
            value_date=value_date,
            position=position,
            **about(loan, self.today),
        )
        announce(self.session, event)
        cure_or_settle(self.session, held, value_date, self.today, self.calendar)
        return row

    def _uphold_no_claim(self, held: Account, line: Line, value_date: date) -> None:
        claim = self.claims.get(held.loan.id)
        settles = claim is not None and held.would_settle(line.principal_fen, line.interest_fen, value_date)
        uphold(policy.still_a_repayment(claim_state=claim, settles=settles), ItIsARecovery)

    def _reversal(self, held: Account, line: Line) -> Repayment:
        original = self.by_id.get(line.reverses) if line.reverses else None
        if original is None or original.loan_id != line.loan_id:
            raise NotFound(Text("未找到要冲正的还款", "No such repayment on this loan"))
        if original.reverses or original.id in self.reversed:
            raise NotReversible(
                Text("该笔是冲正，或已经冲正过", "It is a reversal itself, or is reversed already")
            )
        if held.loan.id in self.claims:
            raise NotReversible(
                Text("代偿申请已通过，金额以通过时为准", "A claim was approved on these figures")
            )
        if held.loan.state == "renewed" and original.principal_fen:
            raise NotReversible(Text("该贷款已由续贷接替", "Another loan has taken this one's place"))
        settled_on = held.loan.settled_on
        if settled_on is not None:
            held.move("reopen", "R-27")
            held.loan.settled_on = None
        else:
            held.move("record_repayment", "R-27")
        row = self._row(line, -original.principal_fen, -original.interest_fen, original.value_date)
        self.reversed.add(original.id)
        held.receive(row.principal_fen, row.interest_fen, original.value_date)
        event = RepaymentReversed(
            repayment_id=row.id,
            reverses=original.id,
            principal=row.principal_fen,
            interest=row.interest_fen,
            value_date=original.value_date,
            position=held.next_position(self.today),
            **about(held.loan, self.today),
        )
        announce(self.session, event)
        # Where no more than a surplus went back, the loan is settled still.
        cure_or_settle(self.session, held, settled_on or original.value_date, self.today, self.calendar)
        return row

    def _row(self, line: Line, principal_fen: int, interest_fen: int, value_date: date) -> Repayment:
        return Repayment(
            id=new_id(),
            loan_id=line.loan_id,
            institution_id=self.institution,
            reference=line.reference,
            principal_fen=principal_fen,
            interest_fen=interest_fen,
            value_date=value_date,
            recorded_on=self.today,
            reverses=line.reverses,
            reason=line.reason,
        )


async def post_all(
    session: AsyncSession, institution: UUID, lines: Sequence[Line], today: date
) -> list[Posted | Refusal]:
    """Record every line that may be recorded; for each its posting, or why it is refused."""
    accounts = await account_rows.load(session, [line.loan_id for line in lines])
    known = await posting.earlier(session, institution, lines)
    overdue = any(held.loan.state == "overdue" for held in accounts.values())
    ledger = Ledger(
        session=session,
        institution=institution,
        today=today,
        accounts=accounts,
        claims=await posting.standing_claims(session, lines),
        calendar=await working_days(session) if overdue else WorkingDays(),
        by_reference={row.reference: row for row in known if row.institution_id == institution},
        by_id={row.id: row for row in known},
        reversed={row.reverses for row in known if row.reverses},
    )
    outcomes: list[Posted | Refusal] = []
    for line in lines:
        try:
            outcomes.append(ledger.post(line))
        except Refusal as refusal:
            outcomes.append(refusal)
    await posting.write(session, ledger.added)
    await account_rows.save(session, accounts.values())
    await exposure.change(session, ledger.freed)
    return outcomes
