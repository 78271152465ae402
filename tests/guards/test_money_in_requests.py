"""A request never takes integer fen: `Money`, which our own code builds from integers, stays out of request
bodies and query parameters, where a JSON number 5 would quietly mean five fen (see shared/money.py)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel

from shared.clock import SystemClock
from shared.measures.weave import ROOT
from shared.money import Amount, Money
from shared.postgres_bus import PostgresBus
from shared.service import World, create_app
from shared.settings import Settings

SERVICES = sorted(app.parent.name for app in (ROOT / "services").glob("*/app.py"))


class Line(BaseModel):
    paid: Money


class Asked(BaseModel):
    """A request as it must not be."""

    amount: Amount
    lines: list[Line]


def document_of(service: str) -> dict[str, Any]:
    """A service's OpenAPI document, without database or bus."""

    async def no_keys() -> dict[str, Any]:
        return {"keys": []}

    world = World(Settings(), SystemClock(), PostgresBus(""), no_keys)
    return create_app(importlib.import_module(f"services.{service}.app").SERVICE, world).openapi()


def asked_as_money(document: Mapping[str, Any]) -> list[str]:
    """`operation: member` of everything a request may hold that is kept in the `money` format."""
    found = []
    for item in document["paths"].values():
        for operation in item.values():
            asked = [operation.get("requestBody", {}), *operation.get("parameters", ())]
            found += [
                f"{operation['operationId']}: {member}"
                for part in asked
                for member in _members(part, document, str(part.get("name", "body")), frozenset())
            ]
    return found


def _members(part: Any, document: Mapping[str, Any], path: str, seen: frozenset[str]) -> Iterator[str]:
    if isinstance(part, list):
        for entry in part:
            yield from _members(entry, document, path, seen)
    if not isinstance(part, dict):
        return
    if part.get("format") == "money":
        yield path
    reference = part.get("$ref")
    if reference and reference not in seen:
        name = reference.rsplit("/", 1)[-1]
        schema = document["components"]["schemas"][name]
        yield from _members(schema, document, f"{path}/{name}", seen | {reference})
    for key, value in part.items():
        yield from _members(value, document, f"{path}/{key}" if key != "$ref" else path, seen)


@pytest.mark.parametrize("service", SERVICES)
def test_no_request_takes_integer_fen(service: str) -> None:
    document = document_of(service)
    assert document["paths"]
    assert asked_as_money(document) == []


def test_the_guard_sees_money_in_a_body_and_in_the_query() -> None:
    app = FastAPI()

    @app.post("/loans", operation_id="file_loan")
    async def file_loan(asked: Asked, least: Annotated[Money | None, Query()] = None) -> Asked:
        return asked

    found = asked_as_money(app.openapi())
    assert len(found) == 2
    assert found[0].startswith("file_loan: body/")
    assert found[0].endswith("/properties/paid")
    assert found[1].startswith("file_loan: least/schema")
