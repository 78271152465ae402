"""A service reached over HTTP. Bodies stream both ways; only the headers of one connection stay behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send

from services.gateway.upstreams import NoAnswerInTime
from shared.problems import Unavailable
from shared.rules import Text

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
     b"transfer-encoding", b"upgrade")
)  # fmt: skip
"""Headers of one connection (RFC 9110 §7.6.1)."""
NOT_ASKED_ON = HOP_BY_HOP | {b"host"}
NOT_ANSWERED_ON = HOP_BY_HOP | {b"date", b"server"}
TIMEOUT = httpx.Timeout(60, connect=3, pool=10)
LIMITS = httpx.Limits(max_connections=200, max_keepalive_connections=50, keepalive_expiry=3)
"""Idle connections end here before the service ends them (uvicorn: after 5 s): none is found dead."""
SAFE = frozenset(("GET", "HEAD"))


class Remote:
    """A service over HTTP."""

    def __init__(self, url: str, *, timeout: httpx.Timeout = TIMEOUT) -> None:
        self.client = httpx.AsyncClient(base_url=url, timeout=timeout, limits=LIMITS, trust_env=False)

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
        answer = await self._answer(scope, receive)
        try:
            headers = _passed_on(answer.headers.raw, NOT_ANSWERED_ON)
            await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            if "content-length" in answer.headers:
                await _pump(answer, send)
            else:  # a stream may have no end: it ends when the caller goes away
                await _until_gone(_pump(answer, send), receive)
        finally:
            await answer.aclose()

    async def _answer(self, scope: Scope, receive: Receive) -> httpx.Response:
        """The service's answer, its body still to come. A question that met a broken connection is
        asked once more; a command never is: its caller has the idempotency key."""
        method = scope["method"]
        for attempt in (1, 2):
            try:
                return await self.client.send(self._request(scope, receive), stream=True)
            except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
                raise _too_slow() from error
            except httpx.TransportError as error:
                if method not in SAFE or attempt == 2:
                    raise _away(error) from error
        raise AssertionError("unreachable")

    def _request(self, scope: Scope, receive: Receive) -> httpx.Request:
        headers = scope["headers"]
        path = (scope.get("raw_path") or scope["path"].encode()).split(b"?")[0]
        query = scope["query_string"]
        url = self.client.base_url.copy_with(raw_path=path + (b"?" + query if query else b""))
        has_body = any(n in (b"content-length", b"transfer-encoding") for n, _ in headers)
        return self.client.build_request(
            scope["method"],
            url,
            headers=_passed_on(headers, NOT_ASKED_ON),
            content=_body(receive) if has_body else None,
        )

    async def close(self) -> None:
        await self.client.aclose()


def _passed_on(headers: list[tuple[bytes, bytes]], dropped: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """Without the headers of this one connection, those named by `Connection` among them."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = {
        word.strip().lower() for name, value in lowered if name == b"connection" for word in value.split(b",")
    }
    return [(name, value) for name, value in lowered if name not in dropped and name not in named]


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpx.ReadError("the caller went away")
        if body := message.get("body", b""):
            yield body
        if not message.get("more_body", False):
            return


async def _pump(answer: httpx.Response, send: Send) -> None:
    async for piece in answer.aiter_raw():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(pumping: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Run until it is done, or until the caller is gone."""
    tasks = [asyncio.create_task(pumping), asyncio.create_task(_gone(receive))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _away(error: httpx.TransportError) -> Unavailable:
    nothing_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    words = (
        Text("后台服务暂不可用，未作任何更改，请稍后重发", "The service is away; nothing changed; send again")
        if nothing_sent
        else Text(
            "与后台服务的连接中断，是否已办理不明；请用同一幂等键重发",
            "The connection to the service broke; the outcome is open: send again with the same key",
        )
    )
    return Unavailable(words, headers={"Retry-After": "2"})


def _too_slow() -> NoAnswerInTime:
    return NoAnswerInTime(
        Text(
            "后台服务未在时限内答复，是否已办理不明；请用同一幂等键重发",
            "The service did not answer in time; the outcome is open: send again with the same key",
        )
    )
