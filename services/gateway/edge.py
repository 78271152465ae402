"""The edge: every request from outside passes here, once, before anything else.

It is refused when its token's access was ended or its body is too large, and goes to the service that
serves its path or to the gateway's own steps; its id and trace it has already (`shared/watch.py`). No body
is held. Answers leave with headers that keep browsers and caches from doing what they should not.
"""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.ended import Ended
from services.gateway.surface import Surface, Way
from services.gateway.upstreams import CallerGone
from shared import tracing
from shared.clock import SANDBOX_DAY, Clock, SandboxClock
from shared.problems import InternalError, Refusal, TooLarge, render
from shared.rules import Text
from shared.watch import OPERATION

log = logging.getLogger("kechuang.edge")
LIMIT_BYTES = 32 * 1024 * 1024
"""Of one request: several pieces of evidence of 20 MB each go one by one; imports are the largest."""
SMALL_LIMIT_BYTES = 64 * 1024
"""Of a request to the gateway itself (names and passwords), and of one that brings no token: whoever is a
stranger has nothing larger to say, and a service would read it all."""
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
UNLESS_SET: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")


class Edge:
    """ASGI middleware around the gateway's own app."""

    def __init__(self, app: ASGIApp, *, surface: Surface, ended: Ended, clock: Clock) -> None:
        self.app = app
        self.surface = surface
        self.ended = ended
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        _tell_day(scope, self.clock)
        answer = Answer(send, tracing.request_id.get().encode(), https=scope["scheme"] == "https")
        try:
            self.ended.refuse(scope["headers"])
            way = self.surface.way(scope["method"], scope["path"])
            if way is None:
                await self.app(scope, limited(scope, receive, answer, SMALL_LIMIT_BYTES), answer)
            else:
                scope[OPERATION] = way.operation
                limit = LIMIT_BYTES if _brings_token(scope) else SMALL_LIMIT_BYTES
                await _pass_on(way, scope, limited(scope, receive, answer, limit), answer)
        except CallerGone:
            return
        except Refusal as refusal:
            answer.instead = answer.instead or refusal
        except Exception:
            if answer.started and not answer.complete:
                raise  # the server cuts the connection, so that nobody takes half an answer for a whole
            if not answer.started and answer.instead is None:
                log.exception("unhandled error at %s", scope["path"])
                answer.instead = InternalError(
                    Text("系统内部错误，请稍后重试", "Internal error; try again later")
                )
        await answer.send_instead(scope, receive)


class Answer:
    """Sends the answer on with the edge's headers; `instead` is the refusal to send in its place."""

    def __init__(self, send: Send, request_id: bytes, *, https: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._https = https
        self.started = False
        self.complete = False
        self.instead: Refusal | None = None

    async def __call__(self, message: Message) -> None:
        if self.instead is not None and not self.started:
            return
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": self._with_own(list(message.get("headers", ())))}
        elif not message.get("more_body", False):
            self.complete = True
        await self._send(message)

    async def send_instead(self, scope: Scope, receive: Receive) -> None:
        """Send the refusal that stands in the answer's place, if there is one and nothing was sent."""
        refusal, self.instead = self.instead, None
        if refusal is not None and not self.started:
            await render(Request(scope), refusal)(scope, receive, self)

    def _with_own(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in headers}
        headers += HEADERS
        headers += [(name, value) for name, value in UNLESS_SET if name not in names]
        headers.append((b"x-request-id", self._request_id))
        if self._https:
            headers.append(HTTPS_ONLY)
        return headers


def _tell_day(scope: Scope, clock: Clock) -> None:
    """In a sandbox whose clock was moved, the request says the day; nobody outside may say it."""
    name = SANDBOX_DAY.encode()
    headers = [header for header in scope["headers"] if header[0] != name]
    if isinstance(clock, SandboxClock) and clock.held is not None:
        headers.append((name, clock.held.isoformat().encode()))
    scope["headers"] = headers


def _brings_token(scope: Scope) -> bool:
    """Good or bad: the service looks at it before it reads the body."""
    return any(name == b"authorization" for name, _ in scope["headers"])


async def _pass_on(way: Way, scope: Scope, receive: Receive, answer: Answer) -> None:
    """To the service, as a part of its own of the request's trace."""
    with tracing.Part(way.operation, "CLIENT") as part:
        if part.span is not None:
            part.told(server__address=way.service)
            ours = (b"traceparent", (tracing.traceparent() or "").encode())
            headers = [header for header in scope["headers"] if header[0] != b"traceparent"]
            scope = {**scope, "headers": [*headers, ours]}
        await way.upstream.forward(scope, receive, answer)


def limited(scope: Scope, receive: Receive, answer: Answer, limit: int) -> Receive:
    """Refuse a body over the limit: by its announced length at once, or when it grows past it. Raises
    TooLarge; whatever the reader makes of it, the caller gets this refusal."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
    if length is not None and length.isdigit():
        if int(length) > limit:
            raise _too_large(limit)
        return receive  # the server holds the body to its announced length
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            answer.instead = _too_large(limit)
            raise answer.instead
        return message

    return counting


def _too_large(limit: int) -> TooLarge:
    size = f"{limit // 1024} KiB" if limit < 1024 * 1024 else f"{limit // (1024 * 1024)} MiB"
    return TooLarge(Text(f"内容超过 {size}；请分成几份", f"More than {size}; send it in parts"))
