"""The merge of the services' documents, on small made-up ones, and the examples composed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from services.gateway.app import SERVICE
from services.gateway.examples import REF, NoExample, compose, without_examples
from services.gateway.openapi import TAG_ORDER, merge
from services.gateway.routes import Clash, operations
from shared.clock import SystemClock
from shared.postgres_bus import PostgresBus
from shared.service import World, create_app
from shared.settings import Settings
from tests.gateway.gate import Gate, _no_keys


def operation(operation_id: str, schema: Mapping[str, Any] | None = None, *tags: str) -> dict[str, Any]:
    content = {"application/json": {"schema": schema or {"type": "boolean"}}}
    return {
        "operationId": operation_id,
        "tags": list(tags),
        "security": [{"token": []}],
        "responses": {"200": {"description": "", "content": content}},
    }


def document(paths: Mapping[str, Any], **schemas: Any) -> dict[str, Any]:
    return {
        "paths": {path: {"get": found} for path, found in paths.items()},
        "components": {"schemas": schemas, "securitySchemes": {"mine": {}}},
    }


def ref(name: str) -> dict[str, str]:
    return {"$ref": REF + name}


PAGE = {"type": "object", "properties": {"items": {"type": "array", "items": ref("Loan")}}}
LOAN = {"type": "object", "properties": {"number": {"type": "string"}}}
OTHER_LOAN = {"type": "object", "properties": {"covered": {"type": "boolean"}}}
PROBLEM = {"type": "object", "properties": {"status": {"type": "integer"}}}


def all_refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for value in part.values():
            yield from all_refs(value)
    elif isinstance(part, list):
        for value in part:
            yield from all_refs(value)
    elif isinstance(part, str) and part.startswith(REF):
        yield part.removeprefix(REF)


def test_identical_schemas_are_shared() -> None:
    one = document({"/v1/a": operation("get_a", ref("Problem"))}, Problem=PROBLEM)
    two = document({"/v1/b": operation("get_b", ref("Problem"))}, Problem=dict(reversed(PROBLEM.items())))
    merged = merge({"lending": one, "roster": two})
    assert merged["components"]["schemas"] == {"Problem": PROBLEM}
    assert set(all_refs(merged["paths"])) == {"Problem"}


def test_clashing_schemas_and_whatever_refers_to_them_are_prefixed_and_every_reference_follows() -> None:
    """`Page` is the same text in both services, but means another `Loan`: it clashes too."""
    one = document({"/v1/a": operation("get_a", ref("Page"))}, Page=PAGE, Loan=LOAN, Problem=PROBLEM)
    two = document({"/v1/b": operation("get_b", ref("Page"))}, Page=PAGE, Loan=OTHER_LOAN, Problem=PROBLEM)
    merged = merge({"lending": one, "compensation": two})
    schemas = merged["components"]["schemas"]
    assert schemas.keys() == {
        "LendingPage", "LendingLoan", "CompensationPage", "CompensationLoan", "Problem",
    }  # fmt: skip
    assert list(all_refs(merged["paths"]["/v1/a"])) == ["LendingPage"]
    assert list(all_refs(merged["paths"]["/v1/b"])) == ["CompensationPage"]
    assert list(all_refs(schemas["LendingPage"])) == ["LendingLoan"]
    assert list(all_refs(schemas["CompensationPage"])) == ["CompensationLoan"]
    assert schemas["CompensationLoan"] == OTHER_LOAN
    assert set(all_refs(merged)) <= schemas.keys()


def test_the_mapping_of_a_discriminator_follows_too() -> None:
    choice = {
        "oneOf": [ref("Loan")],
        "discriminator": {"propertyName": "kind", "mapping": {"loan": REF + "Loan"}},
    }
    one = document({"/v1/a": operation("get_a", choice)}, Loan=LOAN)
    two = document({"/v1/b": operation("get_b", ref("Loan"))}, Loan=OTHER_LOAN)
    merged = merge({"lending": one, "compensation": two})
    assert list(all_refs(merged["paths"]["/v1/a"])) == ["LendingLoan", "LendingLoan"]


def test_a_prefixed_name_that_is_taken_is_an_error() -> None:
    one = document({}, Loan=LOAN, LendingLoan=PROBLEM)
    with pytest.raises(Clash, match="LendingLoan"):
        merge({"lending": one, "compensation": document({}, Loan=OTHER_LOAN)})


def test_two_operations_of_one_id_are_an_error() -> None:
    one, two = document({"/v1/a": operation("get")}), document({"/v1/b": operation("get")})
    with pytest.raises(Clash, match="two operations are called get"):
        merge({"lending": one, "roster": two})


def test_a_path_of_two_services_is_an_error() -> None:
    one, two = document({"/v1/a": operation("get_a")}), document({"/v1/a": operation("get_b")})
    with pytest.raises(Clash, match="/v1/a"):
        merge({"lending": one, "roster": two})


def test_tags_stand_in_the_order_of_the_journey() -> None:
    paths = {
        f"/v1/{tag}": operation(f"get_{tag}", None, tag) for tag in ("claims", "zoo", "loans", "identity")
    }
    tags = [tag["name"] for tag in merge({"lending": document(paths)})["tags"]]
    assert tags == ["identity", "loans", "claims", "zoo"]
    assert len(set(TAG_ORDER)) == len(TAG_ORDER)


def test_there_is_one_set_of_security_schemes_for_all() -> None:
    open_to_all = operation("get_b") | {"security": []}
    merged = merge({"lending": document({"/v1/a": operation("get_a"), "/v1/b": open_to_all})})
    assert merged["components"]["securitySchemes"].keys() == {"token", "clientCredentials"}
    both, none = operations(merged)
    assert both["security"] == [{"token": []}, {"clientCredentials": []}]
    assert none["security"] == []


def test_the_services_own_documents_are_not_touched() -> None:
    one = document({"/v1/a": operation("get_a", ref("Loan"))}, Loan=LOAN)
    before = json.dumps(one)
    merge({"lending": one, "compensation": document({}, Loan=OTHER_LOAN)})
    assert json.dumps(one) == before


# ── examples ─────────────────────────────────────────────────────────────────────────────────────

LEDGER = {
    "components": {
        "schemas": {
            "Loan": {
                "type": "object",
                "required": ["number", "rate", "filed_on", "security", "parts", "self"],
                "properties": {
                    "number": {"type": "string", "examples": ["L-2026-000001"]},
                    "rate": {"anyOf": [{"type": "null"}, {"type": "string", "example": "3.4500"}]},
                    "filed_on": {"type": "string", "format": "date"},
                    "security": {"enum": ["credit", "pledge"]},
                    "parts": {"type": "array", "items": ref("Part")},
                    "self": {"const": "loan"},
                    "note": {"type": "string"},
                },
            },
            "Part": {
                "allOf": [ref("Numbered"), {"type": "object", "properties": {"ok": {"type": "boolean"}}}]
            },
            "Numbered": {"type": "object", "properties": {"no": {"type": "integer"}}},
            "Endless": {"type": "object", "required": ["next"], "properties": {"next": ref("Endless")}},
            "Nameless": {"type": "object", "required": ["what"], "properties": {"what": {"type": "string"}}},
        }
    }
}


def test_an_example_is_composed_from_the_members_own_and_fits_the_schema() -> None:
    example = compose(ref("Loan"), LEDGER)
    assert example == {
        "number": "L-2026-000001",
        "rate": "3.4500",
        "filed_on": "2026-03-02",
        "security": "credit",
        "parts": [{"no": 1, "ok": True}],
        "self": "loan",
    }
    jsonschema.validate(example, LEDGER | ref("Loan"))


@pytest.mark.parametrize(("name", "where"), [("Endless", "refers to itself"), ("Nameless", "#/what")])
def test_where_no_example_can_be_composed_is_said(name: str, where: str) -> None:
    with pytest.raises(NoExample, match=where):
        compose(ref(name), LEDGER)
    wanting = LEDGER | {"paths": {"/v1/a": {"get": operation("get_a", ref(name))}}}
    [missing] = without_examples(wanting)
    assert missing.startswith("get_a 200: ")
    assert where in missing


def test_an_example_a_service_gave_stays() -> None:
    given = operation("get_a")
    given["responses"]["200"]["content"]["application/json"]["example"] = False
    merged = merge({"lending": document({"/v1/a": given, "/v1/b": operation("get_b")})})
    content = [o["responses"]["200"]["content"]["application/json"] for o in operations(merged)]
    assert [media["example"] for media in content] == [False, True]


def own() -> dict[str, Any]:
    world = World(Settings(), SystemClock(), PostgresBus(""), _no_keys)
    return merge({"gateway": create_app(SERVICE, world).openapi()})


def test_every_operation_of_the_gateway_has_examples_that_fit() -> None:
    document = own()
    assert without_examples(document) == []
    checked = 0
    for found in operations(document):
        for body in (found.get("requestBody", {}), *found["responses"].values()):
            for media in body.get("content", {}).values():
                if "example" in media:
                    schema = {"components": document["components"], **media["schema"]}
                    jsonschema.validate(media["example"], schema)
                    checked += 1
    assert checked > 15


def test_every_operation_of_the_gateway_says_who_may_use_it() -> None:
    for found in operations(own()):
        assert found["x-permissions"], found["operationId"]
        assert bool(found["security"]) == ("anyone" not in found["x-permissions"]), found["operationId"]


async def test_the_document_is_served_with_an_etag_and_names_no_internal_host(unchanged: Gate) -> None:
    client = unchanged.client()
    answer = await client.get("/openapi.json")
    assert answer.json()["openapi"] == "3.1.0"
    assert answer.json()["servers"] == [{"url": "/"}]
    paths = answer.json()["paths"]
    assert {"/v1/session", "/v1/lending/{thing}", "/v1/roster/{thing}"} <= paths.keys()
    assert not {"/docs", "/healthz", "/readyz", "/problems"} & paths.keys()
    tag = answer.headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get("/openapi.json", headers={"if-none-match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await client.get("/openapi.json", headers={"if-none-match": '"other"'})).status_code == 200
