"""The production form as a town: everybody signs in with an account the office made, core systems with a
client's secret, and whether it is quiet is asked of the databases.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import count

import httpx

from services import demo_data
from shared.bus import Bus
from shared.kafka_bus import KafkaBus
from tests.journeys.town import Actor, Townspeople
from tests.production.ground import FIRST_ACCOUNT, Production
from tests.quiet import Databases, databases

PASSWORD = "a-tide-at-pinghu-1984"
_serial = count(1)


@dataclass
class ProductionTown(Townspeople):
    """The running installation and its people. Its date is what its clock was last moved to."""

    form: Production
    here: Databases
    bus: Bus
    day: date
    people: dict[str, Actor] = field(default_factory=dict)

    def today(self) -> date:
        return self.day

    def client(self, headers: Mapping[str, str]) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.form.url, headers=headers, timeout=60, trust_env=False)

    async def token(self, roles: Sequence[str], party: str | None, name: str, *, machine: bool) -> str:
        if "office" in roles:
            return await self._signed_in(FIRST_ACCOUNT, demo_data.PASSWORD)
        office = await self.office()
        holder = {"display_name": name or roles[0], "roles": list(roles), "party": party}
        own = f"{roles[0]}-{next(_serial)}"
        if not machine:
            await office.post("/v1/accounts", holder | {"name": own, "password": PASSWORD})
            return await self._signed_in(own, PASSWORD)
        made = await office.post("/v1/clients", holder | {"id": own})
        async with self.client({}) as client:
            form = {"grant_type": "client_credentials"}
            answer = await client.post("/oauth2/token", data=form, auth=(own, made["secret"]))
        return str(answer.raise_for_status().json()["access_token"])

    async def _signed_in(self, name: str, password: str) -> str:
        async with self.client({}) as client:
            answer = await client.post("/v1/session", json={"name": name, "password": password})
        return str(answer.raise_for_status().json()["access_token"])

    async def settle(self) -> None:
        await self.here.quiet()

    async def move_to(self, day: date) -> None:
        await (await self.office()).put("/v1/sandbox/clock", {"today": day.isoformat()})
        self.day = day
        await self.settle()


@asynccontextmanager
async def town(form: Production) -> AsyncIterator[ProductionTown]:
    """The running installation as a town."""
    settings = form.settings()
    bus = KafkaBus.by(settings)
    async with databases(settings) as here:
        it = ProductionTown(form, here, bus, date.min)
        it.day = date.fromisoformat((await (await it.office()).get("/v1/sandbox/clock"))["today"])
        try:
            yield it
        finally:
            await it.leave()
            await bus.close()
