"""What the people do while the system is killed: small commands of money and office, a loan from the
nomination of its enterprise to its repayments, and a claim from its submission to its payment.

The setting is the demo city: its accounts, its banks, its guarantor, its fund.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import date, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from services.demo_data import MEMBERS, PASSWORD, bank_id
from shared.uscc import check_character
from tests.faults.load import MARK, NOBODY, Load

BANK = "bank-a"
OVERDUE_AFTER = timedelta(days=30)
CLAIMED_AFTER_DAYS = 160
"""Far enough for a claim on what fell due after a month."""


def codes() -> Iterator[str]:
    """Unified social credit codes, each once."""
    for number in count(1):
        first = f"91330482{number:09d}"
        yield first + check_character(first)


async def again_and_again(story: Callable[[], Awaitable[None]], enough: asyncio.Event) -> None:
    """Tell a story once, and anew until it is enough; the last one is told to its end."""
    await story()
    while not enough.is_set():
        await story()


async def under_load(stories: Stories, loans_to_claim: int, deaths: Awaitable[None]) -> None:
    """Die while everybody works; afterwards what was begun is brought to its end."""
    enough = asyncio.Event()

    async def die() -> None:
        await deaths
        enough.set()

    async def claims() -> None:
        while stories.to_claim:
            await stories.claim()

    async with asyncio.TaskGroup() as group:
        group.create_task(die())
        await stories.begin(loans_to_claim)
        for story in (stories.money, stories.money, stories.loan, stories.loan):
            group.create_task(again_and_again(story, enough))
        group.create_task(claims())


class Stories:
    """The stories, each in verbs of `load`; every name in them is used once."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.codes = codes()
        self.numbers = count(1)
        self.to_claim: list[str] = []
        self.today = date.min
        self.begun = asyncio.Event()

    async def begin(self, loans_to_claim: int) -> None:
        """Lend, let it fall overdue and be reported: the loans that claims are for."""
        self.today = date.fromisoformat((await self.load.look("office", "/v1/sandbox/clock"))["today"])
        enterprise = await self.enterprise()
        loans = [
            await self.lend(enterprise, "200000.00", self.today + OVERDUE_AFTER)
            for _ in range(loans_to_claim)
        ]
        later = {"advance_days": CLAIMED_AFTER_DAYS}
        moved = await self.load.command("clock", "office", "/v1/sandbox/clock", later, method="PUT")
        self.today = date.fromisoformat(moved["today"])
        for loan in loans:
            body = {"cause": "回款延迟", "action": "已上门催收"}
            path = f"/v1/loans/{loan}/overdue-reports"
            await self.load.command("report", BANK, path, body, hears=True)
            self.to_claim.append(loan)
        self.begun.set()

    async def money(self) -> None:
        """Finance puts money into the fund, and the office registers a guarantor."""
        number = next(self.numbers)
        yuan = self.load.random.randrange(1, 1_000_000)
        body = {"amount": f"{yuan}.{number % 100:02d}", "document": f"{MARK}{number}"}
        await self.load.command("appropriation", "czj", "/v1/fund/appropriations", body)
        guarantor = {"uscc": next(self.codes), "name": f"担保公司{number}"}
        await self.load.command("guarantor", "office", "/v1/guarantors", guarantor)

    async def loan(self) -> None:
        """A new enterprise borrows and repays in part."""
        enterprise = await self.enterprise()
        loan = await self.lend(enterprise, "1000000.00", self.today + timedelta(days=360))
        for _ in range(3):
            await self.repay(loan)

    async def enterprise(self) -> str:
        """Nominated, voted onto the list, registered, with an account of its own; the account's name."""
        uscc = next(self.codes)
        about = {"uscc": uscc, "name": f"科技公司{uscc[-6:]}"}
        nomination = await self.load.command(
            "nomination", "office", "/v1/nominations", about | {"reasons": "研发投入占比高"}
        )
        await self.approve(f"/v1/nominations/{nomination['id']}/ballots", "nomination ballot")
        person = {"contact": "李会计", "legal_representative": "陈某某", "phone": "0573-85012345"}
        await self.load.command("registration", NOBODY, "/v1/registrations", {"uscc": uscc} | person)
        account = {"name": uscc.lower(), "display_name": "企业", "roles": ["enterprise"], "party": uscc}
        await self.load.command("account", "office", "/v1/accounts", account | {"password": PASSWORD})
        return uscc.lower()

    async def approve(self, path: str, kind: str, **more: Any) -> None:
        for unit in MEMBERS:
            await self.load.command(kind, unit, path, {"choice": "approve"} | more)

    async def lend(self, enterprise: str, amount: str, matures_on: date) -> str:
        """Applied for, approved and filed at the bank; the loan's id."""
        ask = {
            "institution_id": str(bank_id(BANK)),
            "amount": amount,
            "term_months": 12,
            "security_type": "credit",
            "purpose": "研发",
        }
        application = await self.load.command("application", enterprise, "/v1/applications", ask, hears=True)
        offer = {"amount": amount, "annual_rate": "3.4500", "term_months": 12, "security_type": "credit"}
        path = f"/v1/applications/{application['id']}/approval"
        await self.load.command("approval", BANK, path, offer)
        filing = {
            "application_id": application["id"],
            "contract_number": f"HT-{next(self.numbers)}",
            "amount": amount,
            "annual_rate": "3.4500",
            "disbursed_on": self.today.isoformat(),
            "matures_on": matures_on.isoformat(),
            "security_type": "credit",
            "repayment_method": "bullet_all",
            "first_loan": False,
        }
        loan = await self.load.command("loan", BANK, "/v1/loans", filing, hears=True)
        return str(UUID(loan["id"]))

    async def repay(self, loan: str) -> None:
        number = next(self.numbers)
        body = {
            "reference": f"HK-{number}",
            "principal": f"{1000 + number}.37",
            "interest": "0.00",
            "value_date": self.today.isoformat(),
        }
        await self.load.command("repayment", BANK, f"/v1/loans/{loan}/repayments", body)

    async def claim(self) -> None:
        """One of the overdue loans is claimed, approved by all and paid by the fund."""
        loan = self.to_claim.pop()
        due = await self.load.look(BANK, f"/v1/loans/{loan}/claim-readiness")
        body = {"loan_id": loan, "principal": due["principal"], "interest": due["interest"]}
        claim = await self.load.command("claim", BANK, "/v1/claims", body, hears=True)
        await self.approve(f"/v1/claims/{claim['id']}/ballots", "claim ballot", figures=claim["figures"])
        payment = {"paid_on": self.today.isoformat(), "voucher": f"支付令{next(self.numbers)}"}
        await self.load.command("payment", "czj", f"/v1/claims/{claim['id']}/payments", payment)
