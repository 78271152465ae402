"""Every request as it is seen from outside: its id and trace, how it was answered and how fast, its line in
the log. The outermost layer of each service's app and of the gateway's."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, MutableMapping
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid4

from shared import tracing

access = logging.getLogger("kechuang.access")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,100}")
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
PROBES = frozenset(("/healthz", "/readyz"))
"""Asked every few seconds by machines: neither measured nor logged; what they find is a metric of its own."""
OPERATION = "kechuang.operation"
"""Where a layer below says, in the scope, which operation it took the request for."""
GONE, BROKEN = 499, 500
"""The caller went before the answer; nothing below answered."""

Seen = Callable[[str, str, int, float], None]


class Watch:
    """ASGI middleware. `seen(operation, method, status, seconds)` is called at the end of every request."""

    def __init__(self, app: ASGIApp, *, name: str, seen: Seen) -> None:
        self.app = app
        self.name = name
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope, request_id, trace = marked(scope)
        tokens = tracing.service.set(self.name), tracing.request_id.set(request_id)
        try:
            if scope["path"] in PROBES:
                await self.app(scope, receive, send)
                return
            with tracing.Part(_method(scope), "SERVER", trace) as part:
                await self._watched(scope, receive, send, part)
        finally:
            tracing.service.reset(tokens[0])
            tracing.request_id.reset(tokens[1])

    async def _watched(self, scope: Scope, receive: Receive, send: Send, part: tracing.Part) -> None:
        began = perf_counter()
        status = GONE

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            status = BROKEN if status == GONE else status
            raise
        finally:
            self._tell(scope, status, perf_counter() - began, part)

    def _tell(self, scope: Scope, status: int, seconds: float, part: tracing.Part) -> None:
        operation, method = _operation(scope), _method(scope)
        self.seen(operation, method, status, seconds)
        if part.span is not None:
            part.told(operation, http__request__method=method, http__response__status_code=status)
            if status >= BROKEN:
                part.failed(str(status))
        if access.isEnabledFor(logging.INFO):
            line = {"operation": operation, "method": method, "status": status, "party": _party(scope)}
            line["duration_ms"] = round(seconds * 1000, 1)
            access.info("%s %s %d in %.1f ms", method, operation, status, seconds * 1000, extra=line)


def marked(scope: Scope) -> tuple[Scope, str, str]:
    """The request, in a scope of its own that layers below may add to, with an id and a W3C `traceparent`
    in its headers: the caller's, if they are sane, or new ones; and both. `tracestate` goes only with its
    trace."""
    request_id = trace = ""
    marks = 0
    for name, value in scope["headers"]:
        if name in (b"x-request-id", b"traceparent"):
            marks += 1
            text = value.decode("latin-1")
            if name == b"traceparent":
                trace = text if tracing.TRACEPARENT.fullmatch(text) else trace
            else:
                request_id = text if REQUEST_ID.fullmatch(text) else request_id
    if request_id and trace and marks == 2:
        return {**scope}, request_id, trace
    dropped = {b"x-request-id", b"traceparent"} | ({b"tracestate"} if not trace else set())
    request_id, trace = request_id or str(uuid4()), trace or tracing.new_traceparent()
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
    headers += [(b"x-request-id", request_id.encode()), (b"traceparent", trace.encode())]
    return {**scope, "headers": headers}, request_id, trace


def _operation(scope: MutableMapping[str, Any]) -> str:
    """The operation's id; of a page its name; `none` where nothing is served."""
    told = scope.get(OPERATION)
    if told:
        return str(told)
    route = scope.get("route")
    return str(getattr(route, "operation_id", None) or getattr(route, "name", None) or "none")


def _method(scope: Scope) -> str:
    return str(scope["method"]) if scope["method"] in METHODS else "other"


def _party(scope: Scope) -> str | None:
    return getattr(scope.get("state", {}).get("principal"), "party", None)
