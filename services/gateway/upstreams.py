"""The services behind the gateway, whichever way they are reached; and the way inside one process.
Nothing is rewritten: the caller's token goes along and the service verifies it itself."""

from __future__ import annotations

from typing import Any, Protocol

import httpx
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from shared.problems import Refusal
from shared.rules import Text


class NoAnswerInTime(Refusal):
    """The service did not answer in time; whether a command took effect is open."""

    status = 504
    title = Text("后台未在时限内答复", "No answer in time")


class CallerGone(Exception):
    """The caller went away in the middle of its request: there is nobody to answer."""


class Upstream(Protocol):
    async def openapi(self) -> dict[str, Any]:
        """The service's own OpenAPI document. Raises OSError or ValueError."""

    async def ready(self) -> dict[str, Any]:
        """The service's /readyz answer; `away` is the status of one that does not give it."""

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and its answer back, both as they come. Raises Unavailable,
        NoAnswerInTime."""

    async def close(self) -> None: ...


class InProcess:
    """A service in this process: its app is called with the request as it is."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def openapi(self) -> dict[str, Any]:
        return self.app.openapi()

    async def ready(self) -> dict[str, Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://in") as client:
            return dict((await client.get("/readyz")).json())

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept = ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string",
                "headers", "client", "server", "extensions")  # fmt: skip
        inner = {name: scope[name] for name in kept if name in scope}
        await self.app(inner | {"root_path": ""}, receive, send)

    async def close(self) -> None:
        return None
