"""A service reached over HTTP. Bodies stream both ways; only the headers of one connection stay behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from services.gateway.exchange import Exchange
from services.gateway.pool import AllInUse, Limits, Pool
from services.gateway.upstreams import CallerGone, NoAnswerInTime
from services.gateway.wire import Broken, Headers
from shared.clock import SANDBOX_DAY
from shared.problems import Refusal, Unavailable
from shared.rules import Text

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
     b"transfer-encoding", b"upgrade")
)  # fmt: skip
"""Headers of one connection (RFC 9110 §7.6.1)."""
NOT_ASKED_ON = HOP_BY_HOP | {b"host", b"expect"}
NOT_ANSWERED_ON = HOP_BY_HOP | {b"date", b"server"}
FRAMING = frozenset((b"content-length", b"transfer-encoding"))
"""What says where a body ends. `Connection` may not name it away: the service would take the rest of the
body for a request of its own, which nobody has looked at, and whose answer another caller would get."""
MARKS = frozenset((b"x-request-id", b"traceparent", SANDBOX_DAY.encode()))
"""What we say of a request ourselves; nor may `Connection` name it away, or what is audited at the service
could not be found in the gateway's log."""
SAFE = frozenset(("GET", "HEAD"))
LIMITS = Limits()


class BodyCutShort(Refusal):
    """The body is shorter than its announced length."""

    status = 400
    title = Text("内容不完整", "Body cut short")


class Remote:
    """The service at `url`."""

    def __init__(self, url: str, limits: Limits = LIMITS) -> None:
        self._pool = Pool(url, limits)
        self._limits = limits

    async def openapi(self) -> dict[str, Any]:
        status, document = await self._get("/openapi.json")
        if status != 200:
            raise ValueError(f"/openapi.json: {status}")
        return document

    async def ready(self) -> dict[str, Any]:
        try:
            return (await self._get("/readyz"))[1]
        except (OSError, ValueError) as error:
            return {"status": "away", "day": None, "faults": [type(error).__name__]}

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange, status, headers = await self._begin(scope, receive)
        try:
            passed_on = _passed_on(headers, NOT_ANSWERED_ON)
            await send({"type": "http.response.start", "status": status, "headers": passed_on})
            measured = any(name == b"content-length" for name, _ in headers)
            await exchange.pass_on(receive, send, endless=not measured)
        finally:
            exchange.end()

    async def close(self) -> None:
        self._pool.close()

    async def _begin(self, scope: Scope, receive: Receive) -> tuple[Exchange, int, Headers]:
        """The exchange once its answer begins. A question that met a broken connection is asked once
        more; a command never is: its caller has the idempotency key."""
        again = scope["method"] in SAFE
        while True:
            try:
                exchange = Exchange(self._pool, await self._pool.take(), self._limits.answer)
            except OSError as error:
                if not again or isinstance(error, AllInUse):
                    raise _away() from error
            else:
                try:
                    return exchange, *await self._ask(exchange, scope, receive)
                except Broken as error:
                    exchange.end()
                    if not again:
                        raise _broken() from error
                except TimeoutError as error:
                    exchange.end()
                    raise _too_slow() from error
                except BaseException:
                    exchange.end()
                    raise
            again = False

    async def _ask(self, exchange: Exchange, scope: Scope, receive: Receive) -> tuple[int, Headers]:
        """Request line and headers as they came, but for those of the caller's own connection."""
        framing = {name: value for name, value in scope["headers"] if name in FRAMING}
        chunked = b"transfer-encoding" in framing
        headers = _passed_on(scope["headers"], NOT_ASKED_ON)
        if chunked:  # it overrides a length (RFC 9112 §6.3); both together are never passed on
            headers = [(name, value) for name, value in headers if name != b"content-length"]
            headers.append((b"transfer-encoding", b"chunked"))
        target = (scope.get("raw_path") or quote(scope["path"]).encode()).split(b"?")[0]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        head = _head(scope["method"], target, [(b"host", self._pool.netloc), *headers])
        length = None if chunked else int(framing.get(b"content-length", 0))
        body = _body(receive, length) if framing else None
        return await exchange.ask(head, body, chunked=chunked)

    async def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        exchange = Exchange(self._pool, await self._pool.take(), self._limits.answer)
        try:
            head = _head("GET", path.encode(), [(b"host", self._pool.netloc)])
            status, _ = await exchange.ask(head, None)
            return status, dict(json.loads(await exchange.whole()))
        finally:
            exchange.end()


def _head(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target), *(b"%b: %b" % header for header in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _passed_on(headers: Iterable[tuple[bytes, bytes]], dropped: frozenset[bytes]) -> Headers:
    """Without the headers of this one connection, those named by `Connection` among them."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = (
        {
            word.strip().lower()
            for name, value in lowered
            if name == b"connection"
            for word in value.split(b",")
        }
        - FRAMING
        - MARKS
    )
    return [(name, value) for name, value in lowered if name not in dropped and name not in named]


async def _body(receive: Receive, length: int | None) -> AsyncIterator[bytes]:
    """The pieces of the caller's body. Raises CallerGone, and BodyCutShort when it ends before its announced
    length (the server gives none of it when the request asks for an upgrade): the service would take the
    next request on the connection for the rest."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        if body := message.get("body", b""):
            length = None if length is None else length - len(body)
            yield body
        if not message.get("more_body", False):
            break
    if length:
        raise BodyCutShort(
            Text("收到的内容短于所声明的长度，请完整重发", "Less came than was announced; send it whole")
        )


def _away() -> Unavailable:
    words = Text(
        "后台服务暂不可用，未作任何更改，请稍后重发",
        "The service is away; nothing changed; send again",
    )
    return Unavailable(words, headers={"Retry-After": "2"})


def _broken() -> Unavailable:
    words = Text(
        "与后台服务的连接中断，是否已办理不明；请用同一幂等键重发",
        "The connection to the service broke; the outcome is open: send again with the same key",
    )
    return Unavailable(words, headers={"Retry-After": "2"})


def _too_slow() -> NoAnswerInTime:
    return NoAnswerInTime(
        Text(
            "后台服务未在时限内答复，是否已办理不明；请用同一幂等键重发",
            "The service did not answer in time; the outcome is open: send again with the same key",
        )
    )
