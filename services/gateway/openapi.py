"""One OpenAPI 3.1 document of all services: the one surface.

Identical schemas are shared; schemas of one name and different content are prefixed by their service.
`python -m services.gateway.openapi` prints it without any database.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

REF = "#/components/schemas/"
DESCRIPTION = (
    "科创贷：科创企业贷款管理与风险补偿。One surface of roster, lending and compensation.\n\n"
    'Amounts are strings with two decimal places (`"1234567.89"`); rates are percent per year with up to '
    "four places; days are business dates in Asia/Shanghai. Refusals are problem documents (RFC 9457) that "
    "name the rule and the article. Every command takes an `Idempotency-Key`; its answer is kept as long as "
    "its effect. `x-permissions` says which role may use an operation, and on whose cases."
)
TAG_ORDER = (
    "identity", "imports", "enterprises", "nominations", "admissions", "guarantors", "registrations",
    "projects", "reference-rates", "calendar", "applications", "loans", "repayments", "overdue", "fund",
    "claims", "recoveries", "write-offs", "sandbox",
)  # fmt: skip


class Clash(Exception):
    """Two services say different things about the same operation or path."""


def merge(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The documents of all services as one; Clash when two share an operation id or path."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    operations: dict[str, str] = {}
    renamed = _renames(documents)
    for service, document in documents.items():
        rename = renamed[service]
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            schemas[rename.get(name, name)] = _rewritten(schema, rename)
        for path, item in document["paths"].items():
            if path in paths:
                raise Clash(f"{path} is served by two services")
            for operation in item.values():
                operation_id = operation["operationId"]
                if operation_id in operations:
                    raise Clash(f"{operation_id} stands in {operations[operation_id]} and {service}")
                operations[operation_id] = service
            paths[path] = _rewritten(item, rename)
    used = {
        tag for item in paths.values() for operation in item.values() for tag in operation.get("tags", ())
    }
    ordered = [tag for tag in TAG_ORDER if tag in used] + sorted(used - set(TAG_ORDER))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kechuang 科创贷", "version": "1", "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in ordered],
        "paths": paths,
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


def _renames(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Per service: the schemas whose name another service uses for something else."""
    meanings: dict[str, dict[str, set[str]]] = {}
    for service, document in documents.items():
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            meanings.setdefault(name, {}).setdefault(json.dumps(schema, sort_keys=True), set()).add(service)
    renamed: dict[str, dict[str, str]] = {service: {} for service in documents}
    for name, different in meanings.items():
        if len(different) > 1:
            for services in different.values():
                for service in services:
                    renamed[service][name] = f"{service.capitalize()}{name}"
    return renamed


def _rewritten(part: Any, rename: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {
            key: REF + rename.get(value[len(REF) :], value[len(REF) :])
            if key == "$ref" and isinstance(value, str) and value.startswith(REF)
            else _rewritten(value, rename)
            for key, value in part.items()
        }
    if isinstance(part, list):
        return [_rewritten(value, rename) for value in part]
    return copy.copy(part)


def main() -> None:
    from services.city import offline_documents

    print(json.dumps(merge(offline_documents()), ensure_ascii=False, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
