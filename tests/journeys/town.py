"""A town to tell stories in: the four services through the gateway, and everybody who takes part.

The verbs (`Townspeople`) are what people do, each one HTTP request through the gateway; a verb returns the
answer's JSON and fails loudly when the answer is not the expected one. `Town` is the form in one process;
the production form has a town of its own (`tests/production/town.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
from sqlalchemy import select

from services.city import SERVICES, City, city
from services.demo import uscc
from services.gateway.keys import Keys
from shared.bus import Bus
from shared.clock import SandboxClock
from shared.measures import measures_on
from shared.plumbing import outbox
from shared.postgres_bus import PostgresBus
from shared.service import Running
from shared.settings import Settings
from tests.ground import DAY, Databases, eventually, session_client

_serial = count(1)


class Unexpected(AssertionError):
    """An answer with another status than the story expects."""


@dataclass
class Actor:
    """Somebody with a token, speaking to the gateway."""

    client: httpx.AsyncClient
    party: str | None = None
    name: str = ""

    async def send(self, method: str, path: str, *, expect: int | None = None, **more: Any) -> httpx.Response:
        headers = {"idempotency-key": str(uuid4())} | more.pop("headers", {})
        answer = await self.client.request(method, path, headers=headers if method != "GET" else {}, **more)
        wrong = answer.status_code >= 300 if expect is None else answer.status_code != expect
        if wrong:
            raise Unexpected(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer

    async def post(self, path: str, body: Any = None, *, expect: int | None = None) -> Any:
        return (await self.send("POST", path, json=body, expect=expect)).json()

    async def put(self, path: str, body: Any, *, expect: int | None = None) -> Any:
        return (await self.send("PUT", path, json=body, expect=expect)).json()

    async def get(self, path: str, *, expect: int | None = None, **query: Any) -> Any:
        return (await self.send("GET", path, params=query or None, expect=expect)).json()


class Townspeople(ABC):
    """What people do, wherever the town is."""

    people: dict[str, Actor]
    bus: Bus

    # ── the town's own ────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def today(self) -> date:
        """The town's business date."""

    @abstractmethod
    def client(self, headers: Mapping[str, str]) -> httpx.AsyncClient:
        """A client of the gateway."""

    @abstractmethod
    async def token(self, roles: Sequence[str], party: str | None, name: str, *, machine: bool) -> str:
        """An access token for somebody of these roles and this party."""

    @abstractmethod
    async def settle(self) -> None:
        """Until every service has published what it announced and taken in what it hears."""

    @abstractmethod
    async def move_to(self, day: date) -> None:
        """Hold the clock at a day; every service does the work of each day up to it."""

    # ── people ────────────────────────────────────────────────────────────────────────────────────

    async def somebody(
        self, *roles: str, party: str | None = None, name: str = "", machine: bool = False
    ) -> Actor:
        """An actor with a token of these roles and party."""
        subject = f"test:{'+'.join(roles)}:{party or ''}:{name}"
        if subject not in self.people:
            token = await self.token(roles, party, name, machine=machine)
            client = self.client({"authorization": f"Bearer {token}", "accept-language": "en"})
            self.people[subject] = Actor(client, party, name or roles[0])
        return self.people[subject]

    async def leave(self) -> None:
        """Everybody hangs up."""
        for actor in self.people.values():
            await actor.client.aclose()

    async def office(self) -> Actor:
        return await self.somebody("office")

    async def members(self) -> list[Actor]:
        """One member of each unit, finance and assessor among them."""
        extra = {"czj": ("finance",), "jrfzzx": ("assessor",)}
        units = measures_on(self.today()).units
        return [await self.somebody("member", *extra.get(u.code, ()), party=u.code, name=u.en) for u in units]

    async def finance(self) -> Actor:
        return await self.somebody("finance", "member", party="czj")

    # ── roster: who takes part ────────────────────────────────────────────────────────────────────

    async def recognise(self, usccs: Sequence[str], valid_from: date) -> None:
        """The office imports a recognition list of these enterprises, valid for ten years."""
        office = await self.office()
        rows = "".join(f"{code},企业{code[-8:]}\n" for code in usccs)
        form = {
            "kind": "qualification",
            "category": "national_high_tech",
            "document_no": f"国科发火{next(_serial)}号",
            "issued_on": valid_from.isoformat(),
            "valid_from": valid_from.isoformat(),
            "valid_to": valid_from.replace(year=valid_from.year + 10).isoformat(),
        }
        content = f"统一社会信用代码,企业名称\n{rows}".encode()
        answer = await office.send("POST", "/v1/imports", data=form, files={"file": ("list.csv", content)})

        async def over() -> dict[str, Any] | None:
            job: dict[str, Any] = await office.get(answer.headers["location"])
            return job if job["state"] in ("done", "refused") else None

        job = await eventually(over, "the end of the import", 120)
        assert (job["state"], job["refused"]) == ("done", 0), job
        await self.settle()

    async def enterprise(self, code: str) -> Actor:
        """A listed enterprise registers."""
        about = {"uscc": code, "contact": "李会计", "legal_representative": "陈某", "phone": "0573-85012345"}
        nobody = Actor(self.client({"accept-language": "en"}))
        await nobody.post("/v1/registrations", about)
        await nobody.client.aclose()
        return await self.somebody("enterprise", party=code)

    async def bank(self, number: int) -> Actor:
        """A bank's core system, admitted by the conference."""
        party = str(UUID(int=number))
        bank = await self.somebody("institution", party=party, machine=True)
        admission = await bank.post("/v1/admissions", {"name": f"第{number}银行"})
        await self.all_approve(f"/v1/admissions/{admission['id']}")
        return bank

    async def guarantor(self) -> Actor:
        """A guarantor the office has registered."""
        office = await self.office()
        made = await office.post("/v1/guarantors", {"uscc": uscc(999_999_000), "name": "科创担保"})
        return await self.somebody("guarantor", party=made["id"])

    # ── lending ───────────────────────────────────────────────────────────────────────────────────

    async def loan(self, enterprise: Actor, bank: Actor, amount: str, **filing: Any) -> dict[str, Any]:
        """Applied for, approved and filed; the loan. `filing` overrides what is filed."""
        security = filing.get("security_type", "credit")
        terms = {"amount": amount, "term_months": 12, "security_type": security}
        asked = {**terms, "institution_id": bank.party, "purpose": "研发"}
        application = await enterprise.post("/v1/applications", asked)
        rate = filing.get("annual_rate", "4.0000")
        approval = f"/v1/applications/{application['id']}/approval"
        await bank.post(approval, {**terms, "annual_rate": rate})
        today = self.today()
        whole = {
            "application_id": application["id"],
            "contract_number": f"JK-{next(_serial)}",
            "amount": amount,
            "annual_rate": rate,
            "disbursed_on": today.isoformat(),
            "matures_on": (today + timedelta(days=360)).isoformat(),
            "security_type": security,
            "repayment_method": "bullet_all",
            "first_loan": False,
        }
        filed: dict[str, Any] = await bank.post("/v1/loans", whole | filing)
        return filed

    async def report(self, bank: Actor, loan_id: str) -> Any:
        body = {"cause": "回款延迟", "action": "催收"}
        return await bank.post(f"/v1/loans/{loan_id}/overdue-reports", body)

    # ── compensation ──────────────────────────────────────────────────────────────────────────────

    async def claim(self, bank: Actor, loan_id: str) -> dict[str, Any]:
        """The bank claims what the record says, once the report has reached compensation."""

        async def ready() -> dict[str, Any] | None:
            told: dict[str, Any] = await bank.get(f"/v1/loans/{loan_id}/claim-readiness")
            return told if told["ready"] else None

        told = await eventually(ready, f"claim readiness of {loan_id}")
        stated = {"loan_id": loan_id, "principal": told["principal"], "interest": told["interest"]}
        made: dict[str, Any] = await bank.post("/v1/claims", stated)
        return made

    # ── the conference ────────────────────────────────────────────────────────────────────────────

    async def all_approve(self, case: str) -> Any:
        """Every unit approves the case at `case`; the last answer."""
        answer = None
        for member in await self.members():
            answer = await member.post(f"{case}/ballots", {"choice": "approve"})
        return answer


@dataclass
class Town(Townspeople):
    """The city running in this process, and its people."""

    city: City
    clock: SandboxClock
    bus: Bus
    people: dict[str, Actor] = field(default_factory=dict)

    def today(self) -> date:
        return self.clock.today()

    def client(self, headers: Mapping[str, str]) -> httpx.AsyncClient:
        return session_client(self.city.gateway, headers)

    async def token(self, roles: Sequence[str], party: str | None, name: str, *, machine: bool) -> str:
        """Signed as the gateway would: nobody here has an account."""
        claims = {
            "sub": f"test:{'+'.join(roles)}:{party or ''}:{name}",
            "name": name or roles[0],
            "roles": list(roles),
            "party": party,
            "kind": "machine" if machine else "person",
        }
        return await cast(Keys, self.city.gateway.state.keys).sign(claims)

    def running(self, service: str) -> Running:
        return cast(Running, self.city.services[service].state.running)

    async def settle(self) -> None:
        async def quiet() -> bool:
            for name in self.city.services:
                running = self.running(name)
                async with running.database.reading() as session:
                    waiting = select(outbox.c.seq).where(outbox.c.published_at.is_(None)).limit(1)
                    if (await session.execute(waiting)).first() is not None:
                        return False
            for name in self.city.services:
                running = self.running(name)
                if running.service.hears:
                    subscription = running.consumer.subscription
                    if subscription is None or (await subscription.place()).lag:
                        return False
            return True

        # Twice: what one service takes in may be what another then announces.
        await eventually(quiet, "a quiet town")
        await eventually(quiet, "a quiet town")

    async def move_to(self, day: date) -> None:
        self.clock.hold(day)
        for name in self.city.services:
            await self.running(name).days.catch_up()
        await self.settle()


@asynccontextmanager
async def town(databases: Databases, today: date = DAY, **settings: Any) -> AsyncIterator[Town]:
    """A town on fresh databases, its clock held at `today`."""
    async with AsyncExitStack() as stack:
        urls: dict[str, str] = {}
        for name, service in SERVICES.items():
            urls[f"{name}_database_url"] = await databases.fresh(service, name)
        urls["bus_database_url"] = await databases.fresh(None, "bus")
        stack.push_async_callback(databases.drop, *urls.values())
        told = {"sandbox": True, "secret": "only for tests", "database_pool": 10}
        whole: Mapping[str, Any] = {**urls, **told, **settings}
        bus = PostgresBus(urls["bus_database_url"])
        await bus.start()
        stack.push_async_callback(bus.close)
        clock = SandboxClock(today)
        running = await stack.enter_async_context(city(Settings.model_validate(whole), clock, bus))
        it = Town(running, clock, bus)
        await it.move_to(today)
        yield it
        await it.leave()
