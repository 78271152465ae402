"""People who go on working while the system dies under them.

Each command goes out under an Idempotency-Key and, whenever its answer does not come, again under the same
key until it is answered. What was answered is kept: it is all the outside knows, and what the reckoning
holds the databases against.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol
from uuid import UUID

import httpx

from services.demo_data import PASSWORD
from tests.ground import eventually

MARK = "fault-"
"""How every request id of ours begins: the audit log tells our commands by it."""
NOBODY = ""


class Unexpected(AssertionError):
    """An answer that no death explains."""


@dataclass(frozen=True)
class Accepted:
    """A command that was accepted, and how it was answered."""

    kind: str
    key: str
    who: str
    method: str
    path: str
    body: Mapping[str, Any]
    status: int
    answer: Mapping[str, Any]


class System(Protocol):
    """What is loaded."""

    async def up(self) -> None:
        """Wait until it is worth asking."""


@dataclass
class Load:
    """Sends commands for anybody; `sent` counts the sendings, `cut` those that got no answer."""

    system: System
    http: httpx.AsyncClient
    random: Random
    accepted: list[Accepted] = field(default_factory=list)
    sent: int = 0
    cut: int = 0
    patience_seconds: float = 120.0
    """From a command's first sending to its answer, over all the deaths in between."""
    again_seconds: float = 0.01
    """From a sending without an answer to the next."""
    pace_seconds: float = 0.0
    """What each takes before the next command: a steady load, not all that is possible."""
    _tokens: dict[str, str] = field(default_factory=dict)

    def of(self, kind: str) -> list[Accepted]:
        """The accepted commands of a kind, in the order of their answers."""
        return [one for one in self.accepted if one.kind == kind]

    async def command(
        self,
        kind: str,
        who: str,
        path: str,
        body: Mapping[str, Any],
        *,
        method: str = "POST",
        hears: bool = False,
    ) -> dict[str, Any]:
        """Have a command accepted; its answer. One that `hears` rests on facts of another service and is
        refused while they are on their way: such a refusal is asked again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.pace_seconds):
                await asyncio.Event().wait()
        key = str(UUID(int=self.random.getrandbits(128), version=4))

        async def accepted() -> httpx.Response | None:
            answer = await self.answered(who, method, path, body, key)
            if answer.is_success:
                return answer
            if hears and answer.status_code in (404, 409):
                return None
            raise Unexpected(f"{who} {method} {path} {body}: {answer.status_code} {answer.text}")

        answer = await self._insist(accepted, f"{method} {path}")
        told = dict(answer.json())
        self.accepted.append(Accepted(kind, key, who, method, path, body, answer.status_code, told))
        return told

    async def look(self, who: str, path: str) -> dict[str, Any]:
        """Ask until there is an answer."""

        async def found() -> httpx.Response | None:
            answer = await self.answered(who, "GET", path)
            return answer if answer.is_success else None

        return dict((await self._insist(found, path)).json())

    async def answered(
        self, who: str, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> httpx.Response:
        """Send until an answer comes that is one: a cut connection, a token run out, a twin of ours still
        running and a service that is away or did not answer in time are none."""

        async def answer() -> httpx.Response | None:
            await self.system.up()
            try:
                headers = {"x-request-id": MARK + key, "idempotency-key": key} if key else {}
                if who != NOBODY:
                    headers["authorization"] = f"Bearer {await self._token(who)}"
                self.sent += 1
                got = await self.http.request(method, path, json=body, headers=headers)
            except httpx.TransportError:
                self.cut += 1
                return None
            if got.status_code == 401:
                self._tokens.pop(who, None)
                return None
            return None if got.status_code in (503, 504) or _twin_is_running(got) else got

        return await self._insist(answer, f"{method} {path}")

    async def _insist(self, ask: Callable[[], Awaitable[httpx.Response | None]], what: str) -> httpx.Response:
        answer: httpx.Response = await eventually(ask, what, self.patience_seconds, self.again_seconds)
        return answer

    async def _token(self, who: str) -> str:
        """A token of this account; raises httpx.TransportError when the system dies meanwhile."""
        if who not in self._tokens:
            answer = await self.http.post("/v1/session", json={"name": who, "password": PASSWORD})
            if answer.status_code == 503:
                raise httpx.ConnectError("not ready yet")
            if answer.status_code != 201:
                raise Unexpected(f"{who} cannot sign in: {answer.status_code} {answer.text}")
            self._tokens[who] = answer.json()["access_token"]
        return self._tokens[who]


def _twin_is_running(answer: httpx.Response) -> bool:
    """The first sending is still at work, though its connection was cut; or others changed the same."""
    waits = ("/problems/still-running", "/problems/conflict")
    return answer.status_code == 409 and answer.json().get("type") in waits


@asynccontextmanager
async def load_on(system: System, url: str, seed: int, **more: float) -> AsyncIterator[Load]:
    """A load on the system that answers at `url`."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        yield Load(system, http, Random(seed), **more)  # type: ignore[arg-type]
