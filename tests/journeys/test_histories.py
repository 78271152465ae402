"""Whole histories, random within the rules, driven through the gateway; after every step the ledger
balances (R-48), shares add up to the loss (R-42), caps hold (R-43) and recoveries never exceed what a party
bore (R-60).

The seed is KECHUANG_SEED (printed on failure by the test's id); the full size is 2,000 histories.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest

from services.demo import uscc
from shared.events import TOPICS
from shared.measures import measures_on
from shared.money import format_money, parse_money
from tests.ground import Databases
from tests.journeys.town import Actor, Townspeople, town

SEED = int(os.environ.get("KECHUANG_SEED", "20260302"))
BEGIN = date(2025, 8, 1)
LASTS = timedelta(days=213)
"""From the day the town begins to the day everybody looks back from."""
ACCOUNTS = ("appropriated", "recovered", "available", "reserved", "paid")
PARTIES = ("fund", "guarantor", "institution")


@dataclass
class Stage:
    """The town of all histories, and who acts in it."""

    town: Townspeople
    begin: date
    today: date
    banks: list[Actor]
    guarantor: Actor
    finance: Actor
    members: list[Actor]
    before: int
    """What the fund had reserved and paid before (fen)."""
    cleared: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    ended: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def ledger_balances(self) -> None:
        """R-48: appropriated + recovered = available + reserved + paid, and no account is negative."""
        fund = await self.finance.get("/v1/fund")
        fen = {name: parse_money(fund[name]) for name in ACCOUNTS}
        assert fen["appropriated"] + fen["recovered"] == fen["available"] + fen["reserved"] + fen["paid"]
        assert min(fen.values()) >= 0
        cap = measures_on(self.today).institution_year_cap_fen
        assert all(cleared <= cap for cleared in self.cleared.values())
        assert fen["reserved"] + fen["paid"] - self.before == sum(self.cleared.values())


async def build(it: Townspeople, enterprises: list[str]) -> Stage:
    begin = it.today()
    await it.recognise(enterprises, date(2024, 1, 1))
    banks = [await it.bank(number) for number in (1, 2, 3)]
    guarantor = await it.guarantor()
    finance = await it.finance()
    await finance.post("/v1/fund/appropriations", {"amount": "900000000.00", "document": "平财预1号"})
    await it.settle()
    await it.move_to(begin + LASTS)
    office = await it.office()
    for published_on in (begin, begin + timedelta(days=20)):
        quote = {"published_on": published_on.isoformat(), "one_year": "3.0000", "five_year": "3.5000"}
        await office.put("/v1/reference-rates", quote)
    fund = await finance.get("/v1/fund")
    before = parse_money(fund["reserved"]) + parse_money(fund["paid"])
    return Stage(it, begin, begin + LASTS, banks, guarantor, finance, await it.members(), before)


async def live(stage: Stage, chance: random.Random, code: str) -> None:
    """One enterprise's history, from registration to wherever chance ends it."""
    it = stage.town
    enterprise, bank = await it.enterprise(code), chance.choice(stage.banks)
    security = chance.choice(["credit", "pledge", "ip_pledge", "guarantee", "mortgage"])
    amount = chance.randint(1, 400_000_000)
    disbursed = stage.begin + timedelta(days=chance.randint(1, 40))
    matures = disbursed + timedelta(days=chance.randint(30, 75))
    loan = await it.loan(
        enterprise,
        bank,
        format_money(amount),
        security_type=security,
        annual_rate=f"{chance.randint(100, 390) / 100:.4f}",
        disbursed_on=disbursed.isoformat(),
        matures_on=matures.isoformat(),
        repayment_method=chance.choice(["bullet_all", "bullet_interest_monthly", "equal_principal"]),
        guarantor_id=stage.guarantor.party if security == "guarantee" else None,
        day_count=chance.choice([360, 365]),
    )
    if not await repay_some(bank, chance, loan["id"], matures):
        stage.ended["settled"] += 1
        return
    await it.report(bank, loan["id"])
    claim = await it.claim(bank, loan["id"])
    claim = await decide(stage, chance, claim)
    if claim["state"] != "approved":
        stage.ended[claim["state"]] += 1
        return
    stage.cleared[bank.party or ""] += parse_money(claim["split"]["fund"])
    shares_add_up(claim, stage.today)
    await stage.ledger_balances()
    await pay(stage, claim)
    for _ in range(chance.randint(0, 3)):
        await recover(stage, chance, bank, claim)
    stage.ended["paid"] += 1


async def repay_some(bank: Actor, chance: random.Random, loan_id: str, last: date) -> bool:
    """Some money comes back on random value dates; whether the loan is still owed."""
    for number in range(chance.randint(0, 3)):
        loan = await bank.get(f"/v1/loans/{loan_id}")
        owed = parse_money(loan["outstanding"])
        if loan["state"] == "settled" or owed == 0:
            return False
        principal = owed if chance.random() < 0.05 else chance.randint(0, owed // 2)
        plan = await bank.get(f"/v1/loans/{loan_id}/schedule")
        due = sum(parse_money(d["interest"]) - parse_money(d["interest_paid"]) for d in plan["dues"])
        interest = due if principal == owed else chance.randint(0, due)
        if principal or interest:
            body = {
                "reference": f"{loan_id}-{number}",
                "principal": format_money(principal),
                "interest": format_money(interest),
                "value_date": (last + timedelta(days=chance.randint(0, 60))).isoformat(),
            }
            await bank.post(f"/v1/loans/{loan_id}/repayments", body)
    loan = await bank.get(f"/v1/loans/{loan_id}")
    return loan["state"] == "overdue" or parse_money(loan["outstanding"]) > 0


async def decide(stage: Stage, chance: random.Random, claim: dict[str, Any]) -> dict[str, Any]:
    """The vote: mostly all approve; now and then a meeting decides."""
    path = f"/v1/claims/{claim['id']}"
    doubter = chance.choice(stage.members) if chance.random() < 0.15 else None
    for member in stage.members:
        choice = "meet" if member is doubter else "approve"
        await member.post(f"{path}/ballots", {"choice": choice, "figures": claim["figures"]})
    office = await stage.town.office()
    if doubter is not None:
        outcome = chance.choice(["approved", "declined"])
        minutes = {
            "outcome": outcome,
            "minutes_number": f"纪要{claim['number']}",
            "held_on": stage.today.isoformat(),
        }
        await office.post(f"{path}/meeting-outcome", minutes)
    found: dict[str, Any] = await office.get(path)
    return found


def shares_add_up(claim: dict[str, Any], today: date) -> None:
    """R-42, R-43: the shares are the loss to the fen; only the institution bears more than its share."""
    split = claim["split"]
    loss = parse_money(claim["principal"]) + parse_money(claim["interest"])
    assert sum(parse_money(split[party]) for party in PARTIES) == loss == parse_money(claim["total"])
    shares = measures_on(today).shares_for(claim["security_type"])
    assert parse_money(split["fund"]) + parse_money(claim["cut"]) <= loss * shares.fund // 100
    assert parse_money(split["guarantor"]) <= loss * shares.guarantor // 100


async def pay(stage: Stage, claim: dict[str, Any]) -> None:
    path = f"/v1/claims/{claim['id']}/payments"
    voucher = {"paid_on": stage.today.isoformat(), "voucher": claim["number"]}
    if parse_money(claim["split"]["fund"]):
        await stage.finance.post(path, voucher)
        await stage.ledger_balances()
    if parse_money(claim["split"]["guarantor"]):
        await stage.guarantor.post(path, voucher)


async def recover(stage: Stage, chance: random.Random, bank: Actor, claim: dict[str, Any]) -> None:
    """R-60: net is shared to the fen, nobody gets back more than it bore, receipts enter the ledger."""
    gross = chance.randint(1, max(1, parse_money(claim["total"]) * 2 // 3))
    costs = chance.randint(0, gross // 5)
    money = {
        "gross": format_money(gross),
        "costs": format_money(costs),
        "received_on": stage.today.isoformat(),
        "voucher": f"追-{chance.getrandbits(60)}",
    }
    recovery = await bank.post(f"/v1/claims/{claim['id']}/recoveries", money)
    assert sum(parse_money(recovery[party]) for party in PARTIES) == gross - costs
    for party, actor in (("fund", stage.finance), ("guarantor", stage.guarantor)):
        if party in recovery["open_for"]:
            receipt = {"received_on": stage.today.isoformat(), "voucher": recovery["number"] + party}
            await actor.post(f"/v1/recoveries/{recovery['id']}/receipts", receipt)
            await stage.ledger_balances()
    whole = await bank.get(f"/v1/claims/{claim['id']}")
    for party in ("fund", "guarantor"):
        back = sum(parse_money(told[party]) for told in whole["recoveries"])
        assert back <= parse_money(claim["split"][party])


async def histories(it: Townspeople, number: int) -> dict[str, int]:
    """Live this many histories; how many ended how."""
    codes = [uscc(500_000 + n) for n in range(number)]
    stage = await build(it, codes)
    for n, code in enumerate(codes):
        chance = random.Random(f"{SEED}-{n}")
        try:
            await live(stage, chance, code)
        except AssertionError as error:
            raise AssertionError(f"history {n} of seed {SEED}: {error}") from error
    await it.settle()
    await stage.ledger_balances()
    for topic in TOPICS:
        assert list(await it.bus.dead_letters(topic)) == []
    return dict(stage.ended)


async def test_r48_r42_r60_whole_histories_keep_every_sum(databases: Databases) -> None:
    async with town(databases, BEGIN) as it:
        ended = await histories(it, 30)
    assert sum(ended.values()) == 30
    assert ended["paid"] > 5


@pytest.mark.large
async def test_r48_r42_r60_two_thousand_histories_keep_every_sum(databases: Databases) -> None:
    async with town(databases, BEGIN) as it:
        ended = await histories(it, 2_000)
    assert sum(ended.values()) == 2_000
