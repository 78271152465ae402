"""The people of compensation's tests: two banks, a guarantor, the conference, and loans that go bad.

Lending is played by the tests: a `Loan` keeps its position and says each fact as lending would.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx

from services.compensation import books
from shared.events import (
    Event,
    LoanFiled,
    LoanRenewed,
    LoanSettled,
    OverdueCured,
    Position,
    PrincipalStep,
    RepaymentOverdue,
    RepaymentRecorded,
    RepaymentReversed,
)
from shared.measures import measures_on
from shared.money import format_money
from tests.ground import DAY, Alone, key

BANK, RIVAL, GUARANTOR = (UUID(int=n) for n in (1, 2, 3))
USCC, OTHER_USCC = "91330482MA2B8QJ50X", "91330482MA2CU1UA3W"
DISBURSED = date(2024, 12, 1)
MATURES = DISBURSED + timedelta(days=360)
"""Also D of R-30: nothing was repaid. A claim is possible from 2026-02-25, a few days before DAY."""
UNITS = [unit.code for unit in measures_on(DAY).units]
_numbers = itertools.count(1)


@dataclass
class Loan:
    """A loan as lending holds it. Amounts in fen; at 4.5 % over 360 days interest is 4.5 % of principal."""

    amount: int
    unpaid_interest: int = 0
    security: str = "credit"
    bank: UUID = BANK
    uscc: str = USCC
    rate: Decimal = Decimal("4.5000")
    status: str = "overdue"
    disbursed_on: date = DISBURSED
    matures_on: date = MATURES
    overdue_since: date | None = MATURES
    day: date = DAY
    id: UUID = field(default_factory=uuid4)
    version: int = 1
    steps: list[tuple[date, int]] = field(default_factory=list)
    received: int = 0

    def __post_init__(self) -> None:
        self.number = f"L-2024-{next(_numbers):06d}"
        self.steps = self.steps or [(self.disbursed_on, self.amount)]
        accrued = (self.amount * 9 + 100) // 200  # 4.5 %, half up
        self.received = accrued - self.unpaid_interest

    @property
    def outstanding(self) -> int:
        return self.steps[-1][1]

    @property
    def guarantor(self) -> UUID | None:
        return GUARANTOR if self.security == "guarantee" else None

    def about(self) -> dict[str, Any]:
        return {
            "business_date": self.day,
            "measures": measures_on(self.day).version,
            "loan_id": self.id,
            "number": self.number,
            "uscc": self.uscc,
            "enterprise_name": "平湖某科技公司",
            "institution_id": self.bank,
            "institution_name": f"银行{self.bank.int}",
        }

    def position(self) -> Position:
        return Position(
            version=self.version,
            outstanding=self.outstanding,
            interest_received=self.received,
            dues=(),
            steps=tuple(PrincipalStep(from_day=day, outstanding=fen) for day, fen in self.steps),
            overdue_since=self.overdue_since,
        )

    def filed(self) -> LoanFiled:
        return LoanFiled(
            **self.about(),
            application_id=uuid4(),
            contract_number=f"HT-{self.number}",
            amount=self.amount,
            annual_rate=self.rate,
            day_count=360,
            disbursed_on=self.disbursed_on,
            matures_on=self.matures_on,
            security_type=self.security,
            guarantor_id=self.guarantor,
            guarantor_name="平湖担保" if self.guarantor else None,
            repayment_method="bullet_all",
            purpose="研发",
            first_loan=False,
            long_term=False,
            renews=None,
            reference_rate=None,
            status=self.status,
            position=self.position(),
        )

    def reported(self, *, late: int = 0) -> RepaymentOverdue:
        assert self.overdue_since is not None
        return RepaymentOverdue(
            **self.about(),
            report_id=uuid4(),
            overdue_since=self.overdue_since,
            reported_on=self.overdue_since + timedelta(days=5),
            report_deadline=self.overdue_since + timedelta(days=7),
            on_time=late == 0,
            working_days_late=late,
            unpaid_principal=self.outstanding,
            unpaid_interest=self.unpaid_interest,
            cause="停产",
            action="起诉",
            position=self._changed(),
        )

    def repaid(self, principal: int, interest: int = 0, on: date | None = None) -> RepaymentRecorded:
        on = on or self.day
        if principal:
            self.steps.append((on, self.outstanding - principal))
        self.received += interest
        self.unpaid_interest -= interest
        return RepaymentRecorded(
            **self.about(),
            repayment_id=uuid4(),
            reference=f"HK-{next(_numbers)}",
            principal=principal,
            interest=interest,
            value_date=on,
            position=self._changed(),
        )

    def reversed(self, of: RepaymentRecorded) -> RepaymentReversed:
        self.steps.append((self.day, self.outstanding + of.principal))
        self.received -= of.interest
        return RepaymentReversed(
            **self.about(),
            repayment_id=uuid4(),
            reverses=of.repayment_id,
            principal=-of.principal,
            interest=-of.interest,
            value_date=self.day,
            position=self._changed(),
        )

    def cured(self) -> OverdueCured:
        since, self.overdue_since = self.overdue_since, None
        assert since is not None
        return OverdueCured(**self.about(), overdue_since=since, cured_on=self.day, position=self._changed())

    def settled(self) -> LoanSettled:
        return LoanSettled(**self.about(), settled_on=self.day, position=self._changed())

    def renewed(self) -> LoanRenewed:
        self.steps.append((self.day, 0))
        return LoanRenewed(**self.about(), renewed_by=uuid4(), position=self._changed())

    def paid_in_full(self) -> list[Event]:
        """Everything owed comes in: what lending says then, in its order."""
        repaid = self.repaid(self.outstanding, self.unpaid_interest)
        return [repaid, self.cured(), self.settled()]

    def _changed(self) -> Position:
        self.version += 1
        return self.position()


class Town:
    """Who acts, and what they usually do."""

    def __init__(self, it: Alone) -> None:
        self.it = it
        self.bank = it.client("institution", party=str(BANK))
        self.rival = it.client("institution", party=str(RIVAL))
        self.guarantor = it.client("guarantor", party=str(GUARANTOR))
        self.finance = it.client("finance", "member", party="czj")
        self.office = it.client("office")
        self.auditor = it.client("auditor")
        self.enterprise = it.client("enterprise", party=USCC)
        self.members = {unit: it.client("member", party=unit) for unit in UNITS}

    async def overdue(self, loan: Loan) -> Loan:
        """Lending has told of the loan and of its overdue report."""
        await self.it.hear(loan.filed(), loan.reported())
        return loan

    async def fund(self, yuan: str = "50000000.00") -> None:
        body = {"amount": yuan, "document": "平财预〔2026〕18号"}
        assert (await self.finance.post("/v1/fund/appropriations", json=body)).status_code == 201

    def loss_of(self, loan: Loan) -> dict[str, Any]:
        return {
            "loan_id": str(loan.id),
            "principal": format_money(loan.outstanding),
            "interest": format_money(loan.unpaid_interest),
        }

    async def claim(self, loan: Loan, **stated: Any) -> httpx.Response:
        bank = self.it.client("institution", party=str(loan.bank))
        return await bank.post("/v1/claims", json=self.loss_of(loan) | stated, headers=key())

    async def claimed(self, loan: Loan) -> str:
        answer = await self.claim(loan)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def vote(self, claim_id: str, unit: str, choice: str = "approve", **more: Any) -> httpx.Response:
        body = {"choice": choice, **more}
        return await self.members[unit].post(f"/v1/claims/{claim_id}/ballots", json=body, headers=key())

    async def approve(self, claim_id: str) -> httpx.Response:
        """All seven units approve; the last one's answer."""
        for unit in UNITS:
            answer = await self.vote(claim_id, unit)
        return answer

    async def approved(self, loan: Loan) -> dict[str, Any]:
        """The loan's claim, claimed and approved."""
        answer = await self.approve(await self.claimed(loan))
        assert answer.json()["state"] in ("approved", "paid"), answer.text
        return dict(answer.json())

    async def pay(self, claim: dict[str, Any], payer: str = "fund", **more: Any) -> httpx.Response:
        client = self.finance if payer == "fund" else self.guarantor
        body = {"paid_on": DAY.isoformat(), "voucher": f"支付令-{payer}"} | more
        return await client.post(f"/v1/claims/{claim['id']}/payments", json=body, headers=key())

    async def paid(self, loan: Loan) -> dict[str, Any]:
        """The loan's claim, approved and paid by all who have to."""
        claim = await self.approved(loan)
        answer = await self.pay(claim)
        if loan.guarantor:
            answer = await self.pay(claim, "guarantor")
        assert answer.json()["state"] == "paid", answer.text
        return dict(answer.json())

    async def recover(self, claim: dict[str, Any], gross: str, costs: str = "0.00") -> httpx.Response:
        body = {
            "gross": gross,
            "costs": costs,
            "received_on": DAY.isoformat(),
            "voucher": f"执-{next(_numbers)}",
        }
        bank = self.it.client("institution", party=claim["institution_id"])
        return await bank.post(f"/v1/claims/{claim['id']}/recoveries", json=body, headers=key())

    async def receive(self, recovery: dict[str, Any], party: str = "fund") -> httpx.Response:
        client = self.finance if party == "fund" else self.guarantor
        body = {"received_on": DAY.isoformat(), "voucher": f"进账单-{next(_numbers)}"}
        return await client.post(f"/v1/recoveries/{recovery['id']}/receipts", json=body, headers=key())

    async def balances(self) -> dict[str, str]:
        answer = (await self.office.get("/v1/fund")).json()
        answer.pop("on")
        return dict(answer)

    async def faults(self) -> list[str]:
        """Where the fund's books and the claims disagree, as `python -m services check` says it."""
        async with self.it.running.database.reading() as session:
            return await books.faults(session)

    async def shown(self, claim_id: str) -> dict[str, Any]:
        return dict((await self.office.get(f"/v1/claims/{claim_id}")).json())
