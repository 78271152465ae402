"""The surface: every operation is named, told, and says how it refuses; docs/openapi.json is current."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from services.gateway.openapi import merge
from shared.measures.weave import ROOT
from tests.guards.source import CITY, SERVICES, document, operations

OPERATION_ID = re.compile(r"[a-z]+(_[a-z0-9]+)*")
OPENAPI = ROOT / "docs" / "openapi.json"


def untold(method: str, path: str, operation: Mapping[str, Any]) -> list[str]:
    """What is missing at an operation."""
    missing = [part for part in ("summary", "description", "tags") if not operation.get(part)]
    if re.search(f"_{method}$", operation["operationId"]) or not OPERATION_ID.fullmatch(
        operation["operationId"]
    ):
        missing.append("an operation_id of its own")
    anyone = "anyone" in operation["x-permissions"]
    takes_input = operation.get("requestBody") or [
        parameter for parameter in operation.get("parameters", ()) if parameter["in"] != "header"
    ]
    demanded = ([] if anyone else ["401", "403"]) + (["422"] if takes_input else [])
    if anyone and path.startswith("/oauth2/"):
        demanded = ["400", "401"]  # RFC 6749 §5.2 has refusals of its own
    responses = operation["responses"]
    missing += [f"refusal {status}" for status in demanded if status not in responses]
    missing += [
        f"words for {status}" for status, response in responses.items() if not response.get("description")
    ]
    if not any(status.startswith("2") for status in responses):
        missing.append("an answer")
    return missing


@pytest.mark.parametrize("name", SERVICES)
def test_every_operation_is_named_and_told_and_says_how_it_refuses(name: str) -> None:
    found = {
        f"{method.upper()} {path}": missing
        for method, path, operation in operations(name)
        if (missing := untold(method, path, operation))
    }
    assert found == {}


@pytest.mark.parametrize("name", SERVICES)
def test_every_json_body_shows_an_example(name: str) -> None:
    schemas = document(name)["components"]["schemas"]
    without = [
        operation["operationId"]
        for _, _, operation in operations(name)
        for media, body in operation.get("requestBody", {}).get("content", {}).items()
        if media == "application/json" and not _has_example(body, schemas)
    ]
    assert without == []


def _has_example(part: Mapping[str, Any], schemas: Mapping[str, Any]) -> bool:
    """Here, at the schema, or at every member (and every item of a list) that must be sent."""
    if any(word in part for word in ("example", "examples", "const", "default")):
        return True
    if "schema" in part:
        return _has_example(part["schema"], schemas)
    if "$ref" in part:
        return _has_example(schemas[part["$ref"].rsplit("/", 1)[-1]], schemas)
    if "items" in part:
        return _has_example(part["items"], schemas)
    if "enum" in part or part.get("type") == "boolean":
        return True
    members = part.get("properties", {})
    return bool(members) and all(_has_example(members[name], schemas) for name in part.get("required", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_every_path_is_under_v1_or_a_standard_s_own(name: str) -> None:
    paths = {path for _, path, _ in operations(name)}
    assert {path for path in paths if not path.startswith(("/v1/", "/oauth2/", "/.well-known/"))} == set()


@pytest.mark.parametrize("name", SERVICES)
def test_a_created_answer_is_the_only_one_of_its_kind(name: str) -> None:
    for method, path, operation in operations(name):
        answers = [status for status in operation["responses"] if status.startswith("2")]
        assert not (method == "get" and "201" in answers), path
        assert len(answers) == 1, (method, path, answers)


def test_the_published_document_is_what_the_services_say_now() -> None:
    now = merge({name: document(name) for name in CITY})
    assert OPENAPI.exists(), "run: make docs"
    assert json.loads(OPENAPI.read_text("utf-8")) == now, "run: make docs"


def test_the_city_is_the_four_services_and_their_documents() -> None:
    from services import city

    assert tuple(city.SERVICES) == SERVICES == CITY
    assert city.offline_documents() == {name: document(name) for name in SERVICES}


def test_the_guard_sees_what_is_missing() -> None:
    bare = {
        "operationId": "file_loan_v1_loans_post",
        "x-permissions": {},
        "responses": {},
        "requestBody": {"x": 1},
    }
    assert untold("post", "/v1/loans", bare) == [
        "summary",
        "description",
        "tags",
        "an operation_id of its own",
        "refusal 401",
        "refusal 403",
        "refusal 422",
        "an answer",
    ]
