"""The demo city: accounts of every role, two banks, a guarantor, and money in the fund.

Made through the gateway's own interface, each request under a fixed idempotency key: a first start that was
interrupted goes on where it was. Only a sandbox has it; its password is public on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid5

import httpx
from fastapi import FastAPI

from services.gateway import first_account
from shared.problems import Refusal
from shared.settings import Settings

PASSWORD = "kechuang-demo-2026"  # noqa: S105  (a sandbox's, printed at every start)
BANKS = {"bank-a": "平湖农村商业银行", "bank-b": "嘉禾城市商业银行"}
GUARANTOR_USCC = "91330482MA2DEM0G2D"
UNITS = {
    "kjj": "科技局",
    "jxj": "经信局",
    "czj": "财政局",
    "scjgj": "市场监管局",
    "rcb": "人才办",
    "jrfzzx": "金融发展中心",
    "rmyh": "人行",
}
MEMBERS = tuple(UNITS)


class SeedingFailed(Exception):
    """The demo city could not be made; the message is what the gateway answered."""


def bank_id(name: str) -> UUID:
    """A demo bank's id: the party of its accounts before it is admitted."""
    return uuid5(NAMESPACE_DNS, f"{name}.kechuang")


@dataclass
class Seeder:
    """Sends the seeding requests, each under its own fixed key."""

    client: httpx.AsyncClient
    tokens: dict[str, str]
    sent: int = 0

    async def sign_in(self, name: str) -> None:
        answer = await self.client.post("/v1/session", json={"name": name, "password": PASSWORD})
        if answer.status_code != 201:
            raise SeedingFailed(f"{name}: {answer.text}")
        self.tokens[name] = answer.json()["access_token"]

    async def post(self, who: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post as somebody; a step that an earlier, interrupted start took already is passed over."""
        self.sent += 1
        if who not in self.tokens:
            await self.sign_in(who)
        headers = {"authorization": f"Bearer {self.tokens[who]}", "idempotency-key": f"demo-{self.sent}"}
        answer = await self.client.post(path, json=body, headers=headers)
        if answer.status_code >= 300:
            raise SeedingFailed(f"{who} {path}: {answer.status_code} {answer.text}")
        return dict(answer.json())


async def seed(gateway: FastAPI, settings: Settings) -> None:
    """Make the demo city. Doing it again changes nothing. Raises SeedingFailed."""
    try:
        await first_account.create(settings, "office", PASSWORD)
    except Refusal as taken:
        if taken.status != 409:
            raise
    transport = httpx.ASGITransport(gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://seed", timeout=60) as client:
        await make_city(client)


async def make_city(client: httpx.AsyncClient) -> None:
    """Make everything but the office's first account, through the gateway this client speaks to. Raises
    SeedingFailed."""
    seeder = Seeder(client, {})
    await _people(seeder)
    await _parties(seeder)


async def _people(seeder: Seeder) -> None:
    for unit, name in UNITS.items():
        roles = {"czj": ["finance"], "jrfzzx": ["assessor"]}.get(unit, ["member"])
        await _account(seeder, unit, name, roles, unit)
    for bank, name in BANKS.items():
        await _account(seeder, bank, name, ["institution"], str(bank_id(bank)))
    await _account(seeder, "auditor", "市审计局", ["auditor"], None)


async def _account(seeder: Seeder, name: str, display: str, roles: list[str], party: str | None) -> None:
    body = {"name": name, "display_name": display, "roles": roles, "party": party, "password": PASSWORD}
    await seeder.post("office", "/v1/accounts", body)


async def _parties(seeder: Seeder) -> None:
    for bank, name in BANKS.items():
        admission = await seeder.post(bank, "/v1/admissions", {"name": name, "statement": "设立科创专营团队"})
        for unit in MEMBERS:
            ballots = f"/v1/admissions/{admission['id']}/ballots"
            await seeder.post(unit, ballots, {"choice": "approve"})
    about = {"uscc": GUARANTOR_USCC, "name": "平湖市科创融资担保有限公司"}
    guarantor = await seeder.post("office", "/v1/guarantors", about)
    await _account(seeder, "guarantor", "科创担保", ["guarantor"], guarantor["id"])
    money = {"amount": "50000000.00", "document": "平财预〔2026〕18号"}
    await seeder.post("czj", "/v1/fund/appropriations", money)


def accounts() -> str:
    """The demo accounts, as `make run` prints them."""
    told = {
        "office": "联席会议办公室 office",
        **{unit: f"{name} member" for unit, name in UNITS.items()},
        **{bank: f"{name} institution" for bank, name in BANKS.items()},
        "guarantor": "科创担保 guarantor",
        "auditor": "市审计局 auditor",
    }
    told["czj"] += ", finance"
    told["jrfzzx"] += ", assessor"
    lines = [f"    {name:<10} {who}" for name, who in told.items()]
    return "\n".join([f"  演示账户，口令均为 {PASSWORD}  demo accounts, all with that password:", *lines])
