"""The people of lending's tests: enterprises, banks and a guarantor, and what they usually do."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import httpx

from shared.events import (
    AboutClaim,
    ClaimApproved,
    EnterpriseListed,
    EnterpriseRegistered,
    Event,
    GuarantorAdmitted,
    InstitutionAdmitted,
    Period,
    Split,
)
from tests.ground import DAY, Alone, key

ALPHA, BETA = "91330482MA2B8QJ50X", "91330482MA2CU1UA3W"
BANK, RIVAL, GUARANTOR = (UUID(int=n) for n in (1, 2, 3))
SINCE = date(2022, 6, 26)
FROM = {"business_date": DAY, "measures": "2022-06-26"}
_numbers = itertools.count(1)


def listed(uscc: str, *periods: tuple[date, date | None]) -> EnterpriseListed:
    """Roster says on which days the enterprise is on the list."""
    days = tuple(Period(from_day=first, to_day=last) for first, last in periods or ((SINCE, None),))
    return EnterpriseListed(
        uscc=uscc,
        name=f"企业{uscc[-4:]}",
        listed=days,
        from_day=days[0].from_day if days else DAY,
        cause="qualification",
        document="国科火字〔2022〕1号",
        **FROM,
    )


def registered(uscc: str) -> EnterpriseRegistered:
    return EnterpriseRegistered(
        uscc=uscc, name=f"企业{uscc[-4:]}", registration_id=uuid4(), activation="0" * 64, **FROM
    )


def admitted(institution: UUID, since: date = SINCE) -> InstitutionAdmitted:
    name = f"银行{institution.int % 10}"
    return InstitutionAdmitted(institution_id=institution, name=name, effective_on=since, **FROM)


def about_claim(loan: dict[str, Any]) -> dict[str, Any]:
    """What compensation's facts say of a claim on this loan."""
    return {
        "claim_id": UUID(loan["id"]),
        "claim_number": "C-2026-000001",
        "loan_id": UUID(loan["id"]),
        "uscc": loan["uscc"],
        "enterprise_name": loan["enterprise_name"],
        "institution_id": UUID(loan["institution_id"]),
        "institution_name": loan["institution_name"],
        "guarantor_id": None,
        **FROM,
    }


def claim_approved(loan: dict[str, Any]) -> AboutClaim:
    nothing = dict.fromkeys(Split.model_fields, 0)
    return ClaimApproved(
        approved_on=DAY,
        principal=100,
        interest=0,
        split=Split(**nothing),
        cut=0,
        payout_due_on=DAY,
        **about_claim(loan),
    )


class Town:
    """Lending at work, and shorthand for what its parties do. Amounts are decimal strings."""

    def __init__(self, it: Alone) -> None:
        self.it = it
        self.rival_id = RIVAL
        self.alpha = it.client("enterprise", party=ALPHA)
        self.beta = it.client("enterprise", party=BETA)
        self.bank = it.client("institution", party=str(BANK))
        self.rival = it.client("institution", party=str(RIVAL))
        self.guarantor = it.client("guarantor", party=str(GUARANTOR))
        self.office = it.client("office")
        self.auditor = it.client("auditor")

    async def settle_in(self) -> None:
        """Roster has told of everybody."""
        guarantor = GuarantorAdmitted(guarantor_id=GUARANTOR, name="担保公司", effective_on=SINCE, **FROM)
        everybody: list[Event] = [guarantor, admitted(BANK), admitted(RIVAL)]
        for uscc in (ALPHA, BETA):
            everybody += [listed(uscc), registered(uscc)]
        await self.it.hear(*everybody)

    async def apply(
        self, amount: str, *, by: httpx.AsyncClient | None = None, at: UUID = BANK, **more: Any
    ) -> dict[str, Any]:
        body = {
            "institution_id": str(at),
            "amount": amount,
            "term_months": 12,
            "security_type": "credit",
            "purpose": "研发",
        } | more
        return done(await (by or self.alpha).post("/v1/applications", json=body, headers=key()))

    async def approve(
        self, application: dict[str, Any], amount: str, by: httpx.AsyncClient | None = None, **more: Any
    ) -> httpx.Response:
        body = {
            "amount": amount,
            "annual_rate": "3.4500",
            "term_months": 12,
            "security_type": "credit",
        } | more
        path = f"/v1/applications/{application['id']}/approval"
        return await (by or self.bank).post(path, json=body, headers=key())

    async def approved(
        self,
        amount: str,
        *,
        by: httpx.AsyncClient | None = None,
        at: UUID = BANK,
        **more: Any,
    ) -> dict[str, Any]:
        """An application, approved as applied for."""
        application = await self.apply(amount, by=by, at=at, **more)
        bank = self.bank if at == BANK else self.rival
        return done(await self.approve(application, amount, by=bank))

    def drawdown(self, application: dict[str, Any], amount: str, /, **more: Any) -> dict[str, Any]:
        """A filing as a bank sends it: a credit loan of a year disbursed today."""
        return {
            "application_id": application["id"],
            "contract_number": f"HT-{next(_numbers)}",
            "amount": amount,
            "annual_rate": "3.6000",
            "disbursed_on": self.it.clock.today().isoformat(),
            "matures_on": date(self.it.clock.today().year + 1, 3, 2).isoformat(),
            "security_type": "credit",
            "repayment_method": "bullet_interest_monthly",
            "purpose": "研发",
            "first_loan": False,
        } | more

    async def file(
        self, application: dict[str, Any], amount: str, /, by: Any = None, **more: Any
    ) -> httpx.Response:
        body = self.drawdown(application, amount, **more)
        return await (by or self.bank).post("/v1/loans", json=body, headers=key())

    async def lend(self, amount: str, **more: Any) -> dict[str, Any]:
        """A loan applied for, approved and filed."""
        application = await self.approved(amount)
        return done(await self.file(application, amount, **more))

    async def repay(
        self,
        loan: dict[str, Any],
        principal: str,
        interest: str = "0.00",
        *,
        on: date | None = None,
        reference: str | None = None,
        by: httpx.AsyncClient | None = None,
    ) -> httpx.Response:
        body = {
            "reference": reference or f"HK-{next(_numbers)}",
            "principal": principal,
            "interest": interest,
            "value_date": (on or self.it.clock.today()).isoformat(),
        }
        path = f"/v1/loans/{loan['id']}/repayments"
        return await (by or self.bank).post(path, json=body, headers=key())

    async def report(self, loan: dict[str, Any], **more: Any) -> httpx.Response:
        body = {"cause": "回款延迟", "action": "已上门催收"} | more
        path = f"/v1/loans/{loan['id']}/overdue-reports"
        return await self.bank.post(path, json=body, headers=key())

    async def loan(self, loan: dict[str, Any]) -> dict[str, Any]:
        return done(await self.office.get(f"/v1/loans/{loan['id']}"))

    async def dues(self, loan: dict[str, Any]) -> list[dict[str, Any]]:
        schedule = done(await self.office.get(f"/v1/loans/{loan['id']}/schedule"))
        return list(schedule["dues"])

    async def room(self, uscc: str = ALPHA) -> str:
        return str(done(await self.office.get(f"/v1/exposures/{uscc}"))["room"])

    async def move_to(self, day: date) -> None:
        await self.it.move_to(day)


def done(answer: httpx.Response) -> dict[str, Any]:
    """The body of an answer that must be a success."""
    assert answer.is_success, answer.text
    return dict(answer.json())


def refused(answer: httpx.Response, rule: str, kind: str, status: int = 409) -> dict[str, Any]:
    """The problem of an answer that must be this refusal."""
    problem: dict[str, Any] = answer.json()
    told = (answer.status_code, problem.get("rule"), problem["type"])
    assert told == (status, rule, f"/problems/{kind}"), answer.text
    return problem
