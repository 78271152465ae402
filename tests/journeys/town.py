"""A town to tell stories in: the four services through the gateway, and everybody who takes part.

The verbs are what people do, each one HTTP request through the gateway; a verb returns the answer's JSON
and fails loudly when the answer is not the expected one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI
from sqlalchemy import select

from services.city import SERVICES, City, city
from services.gateway.keys import Keys
from shared.clock import SandboxClock
from shared.measures import measures_on
from shared.plumbing import outbox
from shared.postgres_bus import PostgresBus
from shared.service import Running
from shared.settings import Settings
from tests.ground import DAY, Databases, eventually, session_client

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_serial = count(1)


def uscc(number: int) -> str:
    """A unified social credit code with a true check character (GB 32100-2015)."""
    body = f"91330482{number:09d}"
    weighed = sum(ALPHABET.index(c) * pow(3, place, 31) for place, c in enumerate(body))
    return body + ALPHABET[-weighed % 31]


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


@dataclass
class Town:
    """The running city and its people."""

    city: City
    clock: SandboxClock
    bus: PostgresBus
    people: dict[str, Actor] = field(default_factory=dict)

    # ── people ────────────────────────────────────────────────────────────────────────────────────

    async def somebody(
        self, *roles: str, party: str | None = None, name: str = "", machine: bool = False
    ) -> Actor:
        """An actor with a token of these roles and party."""
        keys = cast(Keys, self.city.gateway.state.keys)
        subject = f"test:{'+'.join(roles)}:{party or ''}:{name}"
        kind = "machine" if machine else "person"
        claims = {
            "sub": subject,
            "name": name or roles[0],
            "roles": list(roles),
            "party": party,
            "kind": kind,
        }
        headers = {"authorization": f"Bearer {await keys.sign(claims)}", "accept-language": "en"}
        client = session_client(self.city.gateway, headers)
        actor = Actor(client, party, name or roles[0])
        self.people[subject] = actor
        return actor

    async def office(self) -> Actor:
        return await self.somebody("office")

    async def members(self) -> list[Actor]:
        """One member of each unit, finance and assessor among them."""
        extra = {"czj": ("finance",), "jrfzzx": ("assessor",)}
        units = measures_on(self.clock.today()).units
        return [await self.somebody("member", *extra.get(u.code, ()), party=u.code, name=u.en) for u in units]

    async def finance(self) -> Actor:
        return await self.somebody("finance", "member", party="czj")

    # ── time and quiet ────────────────────────────────────────────────────────────────────────────

    def running(self, service: str) -> Running:
        return cast(Running, self.city.services[service].state.running)

    async def settle(self) -> None:
        """Until every service has published what it announced and taken in what it hears."""

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
        """Hold the clock at a day; every service does the work of each day up to it."""
        self.clock.hold(day)
        for name in self.city.services:
            await self.running(name).days.catch_up()
        await self.settle()

    # ── the conference ────────────────────────────────────────────────────────────────────────────

    async def all_approve(self, case: str) -> Any:
        """Every unit approves the case at `case`; the last answer."""
        answer = None
        for member in await self.members():
            answer = await member.post(f"{case}/ballots", {"choice": "approve"})
        return answer


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
        for actor in it.people.values():
            await actor.client.aclose()


def app_of(it: Town, service: str) -> FastAPI:
    return it.city.services[service]


def as_id(text: str) -> UUID:
    return UUID(text)
