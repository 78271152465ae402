"""Which service serves which path, and passing the request on.

The table comes from the services' own OpenAPI documents: a tree of path segments, so that finding the
service costs a few dictionary look-ups. Nothing is rewritten and no body is held; what a service must
know of the caller is the token, which it verifies itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from uuid_utils.compat import uuid4

from services.gateway.upstreams import Upstream
from shared.problems import NotFound, Refusal, TooLarge
from shared.rules import Text

LIMIT_BYTES = 32 * 1024 * 1024
SAFE = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.")


class MethodNotAllowed(Refusal):
    status = 405
    title = Text("这个地址不支持该方法", "Method not allowed here")


class Node:
    """One segment of the tree; `anything` stands for a path parameter."""

    def __init__(self) -> None:
        self.named: dict[str, Node] = {}
        self.anything: Node | None = None
        self.service: str | None = None
        self.methods: set[str] = set()


class Routes:
    """The tree of all paths of the services behind."""

    def __init__(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self.root = Node()
        for service, document in documents.items():
            for path, operations in document["paths"].items():
                node = self._node(path)
                if node.service not in (None, service):
                    raise ValueError(f"{path} is served by {node.service} and by {service}")
                node.service = service
                node.methods |= {method.upper() for method in operations}

    def _node(self, path: str) -> Node:
        node = self.root
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                node.anything = node.anything or Node()
                node = node.anything
            else:
                node = node.named.setdefault(segment, Node())
        return node

    def find(self, path: str) -> Node | None:
        return self._find(self.root, path.strip("/").split("/"), 0)

    def _find(self, node: Node, segments: list[str], at: int) -> Node | None:
        if at == len(segments):
            return node if node.service else None
        found = None
        if (named := node.named.get(segments[at])) is not None:
            found = self._find(named, segments, at + 1)
        if found is None and node.anything is not None:
            found = self._find(node.anything, segments, at + 1)
        return found


class Proxy:
    """The gateway's answer to every path that is not its own."""

    def __init__(self, upstreams: Mapping[str, Upstream]) -> None:
        self.upstreams = upstreams
        self.routes = Routes({})

    async def refresh(self) -> dict[str, dict[str, Any]]:
        """Read the services' documents anew; those that answered."""
        documents = {name: await upstream.openapi() for name, upstream in self.upstreams.items()}
        self.routes = Routes(documents)
        return documents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        node = self.routes.find(scope["path"])
        if node is None or node.service is None:
            raise NotFound(Text("没有这个地址；接口见 /docs", "No such address; see /docs"))
        if scope["method"] not in node.methods:
            allowed = ", ".join(sorted(node.methods))
            raise MethodNotAllowed(
                Text(f"可用：{allowed}", f"allowed: {allowed}"), headers={"Allow": allowed}
            )
        await self.upstreams[node.service].forward(scope, _limited(scope, receive), send)


def _limited(scope: Scope, receive: Receive) -> Receive:
    """Refuse bodies over the limit: by their announced length, or once they grow past it."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            if int(value) > LIMIT_BYTES:
                raise _too_large()
            return receive
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LIMIT_BYTES:
            raise _too_large()
        return message

    return counting


def _too_large() -> TooLarge:
    limit = LIMIT_BYTES // (1024 * 1024)
    return TooLarge(Text(f"内容超过 {limit} MiB；请分成几份", f"More than {limit} MiB; send it in parts"))


class Edge:
    """Middleware of the whole gateway: a request id for every request, and headers that keep browsers
    and caches from doing what they should not."""

    HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
        (b"cross-origin-resource-policy", b"same-origin"),
    )

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and 8 <= len(value) <= 100 and SAFE.issuperset(value):
                request_id = value
        if not request_id:
            request_id = str(uuid4()).encode()
            kept = [(n, v) for n, v in scope["headers"] if n != b"x-request-id"]
            scope = {**scope, "headers": [*kept, (b"x-request-id", request_id)]}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                names = {name.lower() for name, _ in headers}
                headers += [(n, v) for n, v in self.HEADERS if n not in names]
                if b"cache-control" not in names:
                    headers.append((b"cache-control", b"no-store"))
                headers.append((b"x-request-id", request_id))
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, with_headers)
