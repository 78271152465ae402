"""One OpenAPI 3.1 document of all services: the one surface.

Identical schemas are shared; schemas of one name and different content are prefixed by their service,
and so is everything that refers to them. Bodies that show no example get one (`examples.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from services.gateway.examples import REF, complete
from services.gateway.routes import Clash, operations

Document = Mapping[str, Any]
DESCRIPTION = (
    "科创贷：科创企业贷款管理与风险补偿。One surface of roster, lending and compensation.\n\n"
    'Amounts are strings with two decimal places (`"1234567.89"`); rates are percent per year with up to '
    "four places; days are business dates in Asia/Shanghai. Refusals are problem documents (RFC 9457) that "
    "name the rule and the article; `/problems` lists them. Every command takes an `Idempotency-Key`; its "
    "answer is kept as long as its effect. `x-permissions` says which role may use an operation, and on "
    "whose cases: `own` those of its party, `all` everybody's."
)
TAG_ORDER = (
    "identity", "imports", "enterprises", "nominations", "admissions", "institutions", "guarantors",
    "registrations", "project eligibility", "reference-rates", "calendar", "applications", "loans",
    "repayments", "overdue", "roster", "fund", "claims", "recoveries", "write-offs", "assessments", "sandbox",
)  # fmt: skip
"""The order of the journey; tags not named here follow by name."""


def merge(documents: Mapping[str, Document]) -> dict[str, Any]:
    """The documents of all services as one. Raises Clash when two share an operation id or path."""
    renames = _renames(documents)
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for service, document in documents.items():
        rename = renames[service]
        for name, schema in _schemas(document).items():
            final, rewritten = rename.get(name, name), _rewritten(schema, rename)
            if schemas.setdefault(final, rewritten) != rewritten:
                raise Clash(f"the schema name {final} of {service} is taken by another schema")
        for path, item in document["paths"].items():
            if path in paths:
                raise Clash(f"{path} is served by {service} and by another service")
            paths[path] = _rewritten(item, rename)
    return complete(_whole(paths, schemas))


def _whole(paths: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    seen: set[str] = set()
    used: set[str] = set()
    for operation in operations({"paths": paths}):
        if operation["operationId"] in seen:
            raise Clash(f"two operations are called {operation['operationId']}")
        seen.add(operation["operationId"])
        used.update(operation.get("tags", ()))
    ordered = [tag for tag in TAG_ORDER if tag in used] + sorted(used - set(TAG_ORDER))
    return {
        "openapi": "3.1.0",
        "info": {"title": "科创贷 Kechuang", "version": "1", "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in ordered],
        "paths": _secured(paths),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "clientCredentials": {
                    "type": "oauth2",
                    "flows": {"clientCredentials": {"tokenUrl": "/oauth2/token", "scopes": {}}},
                },
            },
        },
    }


def _secured(paths: dict[str, Any]) -> dict[str, Any]:
    """Wherever a token is needed, say both ways to have one."""
    for operation in operations({"paths": paths}):
        if operation.get("security"):
            operation["security"] = [{"token": []}, {"clientCredentials": []}]
    return paths


def _schemas(document: Document) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document.get("components", {}).get("schemas", {})
    return found


def _renames(documents: Mapping[str, Document]) -> dict[str, dict[str, str]]:
    """Per service, its schemas that must be prefixed: another service means something else by the name,
    be it only because of a schema referred to, which is why one pass is not enough."""
    renames: dict[str, dict[str, str]] = {service: {} for service in documents}
    changed = True
    while changed:
        changed = False
        meanings: dict[str, dict[str, list[str]]] = {}
        for service, document in documents.items():
            for name, schema in _schemas(document).items():
                meaning = json.dumps(_rewritten(schema, renames[service]), sort_keys=True)
                meanings.setdefault(name, {}).setdefault(meaning, []).append(service)
        for name, different in meanings.items():
            for service in (s for services in different.values() for s in services if len(different) > 1):
                if name not in renames[service]:
                    renames[service][name] = f"{service.capitalize()}{name}"
                    changed = True
    return renames


def _rewritten(part: Any, rename: Mapping[str, str]) -> Any:
    """A copy in which every reference (`$ref`, a discriminator's mapping) names the final schema."""
    if isinstance(part, dict):
        return {key: _rewritten(value, rename) for key, value in part.items()}
    if isinstance(part, list):
        return [_rewritten(value, rename) for value in part]
    if isinstance(part, str) and part.startswith(REF):
        name = part[len(REF) :]
        return REF + rename.get(name, name)
    return part
