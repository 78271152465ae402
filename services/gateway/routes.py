"""Which service serves which path: a tree of path segments built from the services' own OpenAPI
documents, so that finding the service costs a few dictionary look-ups. A named segment goes before a
parameter; paths are taken exactly as they stand (a trailing slash is another path)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

METHODS = frozenset(("get", "put", "post", "delete", "patch", "head", "options", "trace"))


def operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation of an OpenAPI document, in its order."""
    for item in document["paths"].values():
        yield from (operation for method, operation in item.items() if method in METHODS)


class Clash(Exception):
    """Two services claim the same path, operation id or schema name."""


class Node:
    """One segment of the tree; `anything` stands for a path parameter."""

    __slots__ = ("anything", "named", "operations", "service")

    def __init__(self) -> None:
        self.named: dict[str, Node] = {}
        self.anything: Node | None = None
        self.service: str | None = None
        self.operations: dict[str, str] = {}
        """Method → operation id."""

    @property
    def methods(self) -> frozenset[str]:
        return frozenset(self.operations)


class Routes:
    """The tree of all paths. Raises Clash when two services claim one."""

    def __init__(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self.root = Node()
        for service, document in documents.items():
            for path, item in document["paths"].items():
                node = self._node(path)
                if node.service not in (None, service):
                    raise Clash(f"{path} is served by {node.service} and by {service}")
                node.service = service
                for method, operation in item.items():
                    if method in METHODS:
                        node.operations[method.upper()] = str(operation.get("operationId", "none"))

    def _node(self, path: str) -> Node:
        node = self.root
        for segment in path.split("/")[1:]:
            if segment.startswith("{"):
                node.anything = node.anything or Node()
                node = node.anything
            else:
                node = node.named.setdefault(segment, Node())
        return node

    def find(self, path: str) -> Node | None:
        """The leaf of this path, or None when no service has it."""
        return self._find(self.root, path.split("/")[1:], 0)

    def _find(self, node: Node, segments: list[str], at: int) -> Node | None:
        if at == len(segments):
            return node if node.service else None
        found = None
        if (named := node.named.get(segments[at])) is not None:
            found = self._find(named, segments, at + 1)
        if found is None and node.anything is not None and segments[at]:
            found = self._find(node.anything, segments, at + 1)
        return found
