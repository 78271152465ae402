"""Lending's books add up whatever its parties do, in any order and at once (R-24 to R-27, R-30, R-32).

Three seeds of random work: applications, approvals, filings (renewals and rates above the cap among them),
repayments, reversals, reports, withdrawals, days that pass. Most of it is refused, none of it fails, and
after every round what is kept is what the rows add up to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.ground import key
from tests.lending.town import ALPHA, BANK, RIVAL, Town

ROUNDS, AT_ONCE = 30, 6
BROKEN = {
    "the ceiling's row is not what loans and approvals add up to": """
        SELECT e.uscc FROM exposure e WHERE e.committed_fen <>
            (SELECT coalesce(sum(outstanding_fen), 0) FROM loan l
             WHERE l.uscc = e.uscc AND l.state <> 'exception_refused')
            + (SELECT coalesce(sum(unfiled_fen), 0) FROM application a
               WHERE a.uscc = e.uscc AND a.renews IS NULL)""",
    "what is outstanding is not what was lent less what came back": """
        SELECT l.number FROM loan l WHERE l.outstanding_fen <> l.amount_fen
            - (SELECT coalesce(sum(principal_fen), 0) FROM repayment r WHERE r.loan_id = l.id)
            - (SELECT coalesce(sum(amount_fen), 0) FROM loan n WHERE n.renews = l.id)""",
    "principal by value date is not what came back": """
        SELECT l.number FROM loan l WHERE l.amount_fen - l.outstanding_fen <>
            (SELECT coalesce(sum(repaid_fen), 0) FROM principal_step s WHERE s.loan_id = l.id)""",
    "interest received is not what was posted": """
        SELECT l.number FROM loan l WHERE l.interest_received_fen <>
            (SELECT coalesce(sum(interest_fen), 0) FROM repayment r WHERE r.loan_id = l.id)""",
    "principal paid on dues is not what came back": """
        SELECT l.number FROM loan l WHERE l.amount_fen - l.outstanding_fen <>
            (SELECT sum(principal_paid_fen) FROM due d WHERE d.loan_id = l.id)""",
    "the next due day is not the oldest with anything unpaid": """
        SELECT l.number FROM loan l WHERE l.next_due_on IS DISTINCT FROM
            (SELECT min(due_on) FROM due d WHERE d.loan_id = l.id
             AND (principal_paid_fen < principal_fen OR interest_paid_fen < interest_fen))""",
    "an overdue loan has another day than its oldest unpaid one": """
        SELECT l.number FROM loan l WHERE l.state = 'overdue' AND l.overdue_since <> l.next_due_on""",
    "a loan is settled with something left, or not settled with nothing left": """
        SELECT l.number FROM loan l WHERE l.state NOT IN ('renewed', 'exception_refused')
            AND (l.state = 'settled') <> (l.outstanding_fen = 0 AND l.next_due_on IS NULL)""",
    "an approval is used up by other sums than its loans": """
        SELECT a.number FROM application a WHERE a.state IN ('approved', 'filed')
            AND a.approved_amount_fen - a.unfiled_fen <>
            (SELECT coalesce(sum(l.amount_fen), 0) FROM loan l WHERE l.application_id = a.id)""",
}


class Work:
    """Random work of all parties, by one seed."""

    def __init__(self, town: Town, seed: int) -> None:
        self.town = town
        self.dice = random.Random(seed)
        self.applications: list[dict[str, Any]] = []
        self.loans: list[dict[str, Any]] = []
        self.repayments: list[dict[str, Any]] = []

    def amount(self, most: int = 4_000_000) -> str:
        return (
            f"{self.dice.choice([1, 999, 250_000, most // 2, most])}.{self.dice.choice(['00', '01', '99'])}"
        )

    def bank(self, case: dict[str, Any]) -> httpx.AsyncClient:
        return self.town.bank if case["institution_id"] == str(BANK) else self.town.rival

    async def apply(self) -> httpx.Response:
        who = self.dice.choice([self.town.alpha, self.town.beta])
        body = {
            "institution_id": str(self.dice.choice([BANK, RIVAL])),
            "amount": self.amount(),
            "term_months": 12,
            "security_type": "credit",
            "purpose": "研发",
        }
        if self.loans and self.dice.random() < 0.3:
            loan = self.dice.choice(self.loans)
            body |= {"renews": loan["id"], "institution_id": loan["institution_id"]}
            who = self.town.alpha if loan["uscc"] == ALPHA else self.town.beta
        return self.kept(self.applications, await who.post("/v1/applications", json=body, headers=key()))

    async def approve(self) -> httpx.Response:
        case = self.dice.choice(self.applications)
        return await self.town.approve(case, case["amount"], by=self.bank(case))

    async def withdraw(self) -> httpx.Response:
        case = self.dice.choice(self.applications)
        who = self.town.alpha if case["uscc"] == ALPHA else self.town.beta
        return await who.post(f"/v1/applications/{case['id']}/withdrawal", headers=key())

    async def file(self) -> httpx.Response:
        case = self.dice.choice(self.applications)
        today = self.town.it.clock.today()
        more: dict[str, Any] = {
            "repayment_method": self.dice.choice(
                ["bullet_interest_monthly", "equal_instalment", "bullet_all"]
            ),
            "matures_on": (today + timedelta(days=self.dice.choice([40, 200, 365]))).isoformat(),
            "annual_rate": self.dice.choice(["0.0000", "3.6000"]),
        }
        if self.dice.random() < 0.2:
            more |= {"security_type": "mortgage", "annual_rate": "9.0000", "rate_reason": "处置周期长"}
        if case["renews"]:
            more["renews"] = case["renews"]
        elif self.loans and self.dice.random() < 0.2:
            more["renews"] = self.dice.choice(self.loans)["id"]
        part = self.dice.choice([case["amount"], "0.01", "999.99"])
        return self.kept(self.loans, await self.town.file(case, part, by=self.bank(case), **more))

    async def decide(self) -> httpx.Response:
        loan = self.dice.choice(self.loans)
        body = {"decision": self.dice.choice(["accepted", "refused"])}
        return await self.town.office.post(f"/v1/loans/{loan['id']}/rate-exception", json=body, headers=key())

    async def repay(self) -> httpx.Response:
        loan = self.dice.choice(self.loans)
        principal = self.dice.choice(["0.00", "0.01", "500.00", loan["amount"]])
        interest = self.dice.choice(["0.00", "0.01", "3600.00"])
        back = timedelta(days=self.dice.choice([0, 0, 3, 40]))
        answer = await self.town.repay(
            loan, principal, interest, on=self.town.it.clock.today() - back, by=self.bank(loan)
        )
        return self.kept(self.repayments, answer)

    async def reverse(self) -> httpx.Response:
        one = self.dice.choice(self.repayments)
        loan = next(loan for loan in self.loans if loan["id"] == one["loan_id"])
        body = {"reference": f"CZ-{self.dice.random()}", "reason": "记账有误"}
        path = f"/v1/loans/{loan['id']}/repayments/{one['id']}/reversal"
        return await self.bank(loan).post(path, json=body, headers=key())

    async def report(self) -> httpx.Response:
        return await self.town.report(self.dice.choice(self.loans))

    def kept(self, kind: list[dict[str, Any]], answer: httpx.Response) -> httpx.Response:
        if answer.status_code == 201:
            kind.append(answer.json())
        return answer

    def possible(self) -> list[Callable[[], Awaitable[httpx.Response]]]:
        steps: list[Callable[[], Awaitable[httpx.Response]]] = [self.apply]
        if self.applications:
            steps += [self.approve, self.approve, self.file, self.file, self.file, self.withdraw]
        if self.loans:
            steps += [self.repay, self.repay, self.repay, self.decide, self.report]
        if self.repayments:
            steps.append(self.reverse)
        return steps


async def broken(town: Town) -> dict[str, list[str]]:
    async with town.it.running.database.reading() as session:
        found = {name: (await session.execute(text(sql))).scalars().all() for name, sql in BROKEN.items()}
    return {name: list(rows) for name, rows in found.items() if rows}


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_r24_r27_the_books_add_up_whatever_happens_at_once(town: Town, seed: int) -> None:
    work, codes = Work(town, seed), dict[int, int]()
    for _ in range(ROUNDS):
        steps = [work.dice.choice(work.possible()) for _ in range(AT_ONCE)]
        for answer in await asyncio.gather(*(step() for step in steps)):
            assert answer.status_code in (200, 201, 404, 409, 422), answer.text
            codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
        assert await broken(town) == {}
        if work.dice.random() < 0.3:
            await town.move_to(town.it.clock.today() + timedelta(days=work.dice.choice([1, 30])))
            assert await broken(town) == {}
    assert codes[201] > 20, codes
