"""What the gateway offers: the routing table and the one OpenAPI document, read from the services at
start and read anew while they run. A service that is away keeps its last good document."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from services.gateway.openapi import merge
from services.gateway.routes import Clash, Node, Routes
from services.gateway.upstreams import Upstream
from shared.problems import Refusal, Unavailable
from shared.readiness import Probe
from shared.rules import Text

log = logging.getLogger("kechuang.surface")


class MethodNotAllowed(Refusal):
    """The address exists, but not with this method; `Allow` names those it has."""

    status = 405
    title = Text("这个地址不支持该方法", "Method not allowed here")


class Way(NamedTuple):
    """Where a request goes."""

    service: str
    upstream: Upstream
    operation: str


class Surface:
    """The services behind, the paths they serve, and the document that says so."""

    REFRESH_SECONDS = 60.0
    AWAY_SECONDS = 0.5

    def __init__(self, upstreams: Mapping[str, Upstream], own: Callable[[], dict[str, Any]]) -> None:
        self.upstreams = upstreams
        self._own = own
        self._documents: dict[str, dict[str, Any]] = {}
        self._routes = Routes({})
        self._missing = set(upstreams)
        self._probes = {name: Probe(upstream.ready) for name, upstream in upstreams.items()}
        self.body = b""
        self.etag = ""

    async def refresh(self) -> None:
        """Read the services' documents anew. Raises Clash, and then the last good state holds."""
        heard = dict(self._documents)
        missing: set[str] = set()
        for name, upstream in self.upstreams.items():
            try:
                heard[name] = await upstream.openapi()
            except (OSError, ValueError) as error:
                log.info("%s does not tell its document: %r", name, error)
                missing.add(name)
        self._missing = missing
        if heard != self._documents or not self.body:
            # In the order of the services, whichever answered first.
            ordered = {"gateway": self._own()} | {n: heard[n] for n in self.upstreams if n in heard}
            body = json.dumps(merge(ordered), ensure_ascii=False).encode()
            self._routes = Routes(ordered)
            self.body, self.etag = body, f'"{sha256(body).hexdigest()[:32]}"'
            self._documents = heard

    async def keep_fresh(self) -> None:
        """For ever: read anew once a minute, and soon while a service is away."""
        while True:
            await asyncio.sleep(self.AWAY_SECONDS if self._missing else self.REFRESH_SECONDS)
            try:
                await self.refresh()
            except Clash:
                log.exception("the surface stays as it was")

    def way(self, method: str, path: str) -> Way | None:
        """Who serves this, and by which operation; None when it is the gateway itself. Raises
        MethodNotAllowed, and Unavailable for an unknown path while a service has not told its paths yet."""
        node = self._routes.find(path)
        if node is None or node.service is None:
            if path.startswith("/v1/") and self._missing - self._documents.keys():
                raise Unavailable(
                    Text("系统正在启动，请稍后重发", "The system is starting; send again in a moment"),
                    headers={"Retry-After": "2"},
                )
            return None
        operation = node.operations.get(method)
        if operation is None:
            raise _not_allowed(node)
        upstream = self.upstreams.get(node.service)
        return Way(node.service, upstream, operation) if upstream else None

    async def neighbours(self) -> dict[str, str]:
        """How the services behind are: `ready`, `unready`, or `away` when one does not answer in time."""
        states = await asyncio.gather(*map(_state, self._probes.values()))
        return dict(zip(self._probes, states, strict=True))


async def _state(probe: Probe[dict[str, Any]]) -> str:
    try:
        return str((await probe.answer()).get("status"))
    except Exception:  # noqa: BLE001  (whatever it is: it does not answer)
        return "away"


def _not_allowed(node: Node) -> MethodNotAllowed:
    allowed = ", ".join(sorted(node.methods))
    return MethodNotAllowed(Text(f"可用：{allowed}", f"allowed: {allowed}"), headers={"Allow": allowed})
