"""The services behind the gateway: in this process, or over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

import httpx
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from shared.problems import Unavailable
from shared.rules import Text

HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"host",
}  # fmt: skip
TIMEOUT = httpx.Timeout(60, connect=3, pool=10)


class Upstream(Protocol):
    async def openapi(self) -> dict[str, Any]:
        """The service's own OpenAPI document."""

    async def ready(self) -> dict[str, Any]:
        """The service's /readyz answer."""

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and its answer back, both as they come."""

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
        inner = {name: scope[name] for name in kept if name in scope} | {"root_path": ""}
        await self.app(inner, receive, send)

    async def close(self) -> None:
        return None


class Remote:
    """A service over HTTP; bodies stream both ways."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
        self.client = httpx.AsyncClient(base_url=url, timeout=TIMEOUT, limits=limits, trust_env=False)

    async def openapi(self) -> dict[str, Any]:
        answer = await self.client.get("/openapi.json")
        answer.raise_for_status()
        return dict(answer.json())

    async def ready(self) -> dict[str, Any]:
        try:
            return dict((await self.client.get("/readyz")).json())
        except (httpx.TransportError, json.JSONDecodeError) as error:
            return {"status": "unready", "day": None, "faults": [type(error).__name__]}

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._request(scope, receive)
        try:
            answer = await self.client.send(request, stream=True)
        except httpx.TransportError as error:
            raise Unavailable(
                Text("后台服务暂不可用，请稍后重发", "The service behind is away; send again later"),
                headers={"Retry-After": "2"},
            ) from error
        try:
            headers = [(n.lower(), v) for n, v in answer.headers.raw if n.lower() not in HOP_BY_HOP]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await answer.aclose()

    def _request(self, scope: Scope, receive: Receive) -> httpx.Request:
        headers = [(n, v) for n, v in scope["headers"] if n.lower() not in HOP_BY_HOP]
        query = scope["query_string"]
        path = scope.get("raw_path") or scope["path"].encode()
        url = self.client.base_url.copy_with(raw_path=path.split(b"?")[0] + (b"?" + query if query else b""))
        has_body = any(n.lower() in (b"content-length", b"transfer-encoding") for n, _ in scope["headers"])
        content = _body(receive) if has_body else None
        return self.client.build_request(scope["method"], url, headers=headers, content=content)

    async def close(self) -> None:
        await self.client.aclose()


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpx.ReadError("the caller went away")
        if body := message.get("body", b""):
            yield body
        if not message.get("more_body", False):
            return
