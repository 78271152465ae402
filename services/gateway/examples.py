"""An example on every operation: where a service gives none for a request or an answer, one is composed
from the examples of its members. What has no example anywhere is listed by `without_examples`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.gateway.routes import operations

REF = "#/components/schemas/"
SIMPLE: Mapping[str, Any] = {"boolean": True, "integer": 1, "number": 1, "null": None}
FORMATS: Mapping[str, str] = {
    "uuid": "0192f3a0-1c1b-7d5e-9b1a-2f6d5a3c4e5f",
    "date": "2026-03-02",
    "date-time": "2026-03-02T01:30:00Z",
    "money": "1234567.89",
    "binary": "(the file's bytes)",
}
DEPTH = 12


class NoExample(Exception):
    """A schema, or a part of it, has no example and nothing to compose one from."""


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document, with an example on every JSON request and answer that one can be composed for."""
    for _where, media, schema in _bodies(document):
        if "example" not in media and "examples" not in media:
            try:
                media["example"] = compose(schema, document)
            except NoExample:
                continue
    return document


def without_examples(document: Mapping[str, Any]) -> list[str]:
    """`operation: which body: what is missing` for every body no example can be composed for."""
    missing = []
    for where, media, schema in _bodies(document):
        if "example" not in media and "examples" not in media:
            try:
                compose(schema, document)
            except NoExample as error:
                missing.append(f"{where}: {error}")
    return missing


def compose(schema: Mapping[str, Any], document: Mapping[str, Any], at: str = "#", depth: int = 0) -> Any:
    """An example of a schema. Raises NoExample."""
    if depth > DEPTH:
        raise NoExample(f"{at} refers to itself")
    if reference := schema.get("$ref"):
        target = document["components"]["schemas"][reference.removeprefix(REF)]
        return compose(target, document, at, depth + 1)
    for given in ("example", "const", "default"):
        if schema.get(given) is not None:
            return schema[given]
    for several in ("examples", "enum"):
        if schema.get(several):
            return schema[several][0]
    if "allOf" in schema:
        parts = [compose(part, document, at, depth + 1) for part in schema["allOf"]]
        if all(isinstance(part, dict) for part in parts):
            return {name: value for part in parts for name, value in part.items()}
        return parts[0]
    if choice := schema.get("anyOf") or schema.get("oneOf"):
        return _first_of(choice, document, at, depth)
    return _of_type(schema, document, at, depth)


def _first_of(choice: list[Mapping[str, Any]], document: Mapping[str, Any], at: str, depth: int) -> Any:
    """The first alternative there is an example of; nothing (`null`) is the last resort."""
    missing = NoExample(at)
    for alternative in sorted(choice, key=lambda one: one.get("type") == "null"):
        try:
            return compose(alternative, document, at, depth + 1)
        except NoExample as error:
            missing = error
    raise missing


def _of_type(schema: Mapping[str, Any], document: Mapping[str, Any], at: str, depth: int) -> Any:
    kind = schema.get("type")
    if kind == "object":
        required = schema.get("required", ())
        members: dict[str, Any] = {}
        for name, member in schema.get("properties", {}).items():
            try:
                members[name] = compose(member, document, f"{at}/{name}", depth + 1)
            except NoExample:
                if name in required:
                    raise
        return members
    if kind == "array":
        items = schema.get("items") or {}
        return [compose(items, document, f"{at}/0", depth + 1)] if items else []
    if kind == "string" and (made := FORMATS.get(schema.get("format", ""))):
        return made
    if kind == "string" and "contentMediaType" in schema:
        return FORMATS["binary"]
    if isinstance(kind, str) and kind in SIMPLE:
        return SIMPLE[kind]
    raise NoExample(at)


def _bodies(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every request body and every successful answer: where it stands, the media type, its schema."""
    for operation in operations(document):
        asked = [("request", operation.get("requestBody", {}))]
        answered = [(s, r) for s, r in operation["responses"].items() if s.startswith("2")]
        for what, body in (*asked, *answered):
            for media in body.get("content", {}).values():
                if media.get("schema"):
                    yield f"{operation['operationId']} {what}", media, media["schema"]
