"""The permission table and the routes say the same thing: no route without a row, no row without a route,
and no way past the table."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.routing import Route as PlainRoute

from services.gateway.app import create as create_gateway
from shared.clock import SystemClock
from shared.identity import PERMISSIONS, permissions
from shared.postgres_bus import PostgresBus
from shared.service import Route, World
from shared.settings import Settings
from tests.guards.source import SERVICES, operations, service

OWN_ACCOUNT = {"get_me", "change_password", "begin_second_factor", "confirm_second_factor"}
"""What every person does for themself, whatever the role."""
OF_NOBODY = {"list_reference_rates", "get_calendar", "get_sandbox_clock", "get_keys", "list_notices"}
"""Questions about no party's case: the role that sees only its own may ask them all the same."""
DOORS = {
    "sign_in": "a wrong password must be counted, so its transaction commits also when it refuses",
    "issue_token": "OAuth 2.0 has answers and refusals of its own",
    "get_keys": "the keys every token is verified by",
}
"""What is asked before there is a token, and so runs outside `Route`."""
PARTY_ROLES = {"institution", "guarantor", "enterprise"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_operation_has_a_row_and_every_row_an_operation(name: str) -> None:
    rows = set(tomllib.loads((PERMISSIONS / f"{name}.toml").read_text("utf-8")))
    served = {operation["operationId"] for _, _, operation in operations(name)}
    assert {"operations without a row": served - rows, "rows without an operation": rows - served} == {
        "operations without a row": set(),
        "rows without an operation": set(),
    }


@pytest.mark.parametrize("name", SERVICES)
def test_every_step_runs_as_a_route_that_asks_the_table(name: str) -> None:
    steps = [route for step in service(name).steps for route in step.routes if isinstance(route, APIRoute)]
    assert len(steps) == sum(len(step.routes) for step in service(name).steps)
    assert [route.path for route in steps if not route.include_in_schema] == []
    outside = {str(route.operation_id) for route in steps if type(route) is not Route}
    assert outside - DOORS.keys() == set()
    assert all("anyone" in permissions()[operation] for operation in outside)


def all_routes(app: FastAPI) -> Iterator[BaseRoute]:
    """Every route of an app, those of the routers it includes as well."""
    for route in app.routes:
        included = getattr(route, "original_router", None)
        yield from [route] if included is None else included.routes


def test_what_the_gateway_serves_besides_its_steps_changes_nothing() -> None:
    async def no_keys() -> dict[str, object]:
        return {"keys": []}

    app = create_gateway(World(Settings(), SystemClock(), PostgresBus(""), no_keys), {})
    besides = [
        route
        for route in all_routes(app)
        if isinstance(route, PlainRoute | APIRoute)
        and type(route) is not Route
        and getattr(route, "operation_id", None) not in DOORS
    ]
    assert {route.path for route in besides} >= {"/healthz", "/readyz", "/docs"}
    for route in besides:
        assert (route.methods or set()) <= {"GET", "HEAD"}, route.path


def test_every_row_grants_somebody_something() -> None:
    assert [operation for operation, row in permissions().items() if not row] == []


def test_a_party_reaches_only_its_own_cases() -> None:
    too_far = {
        operation: sorted(role for role, whose in row.items() if role in PARTY_ROLES and whose == "all")
        for operation, row in permissions().items()
        if operation not in OF_NOBODY
    }
    assert {operation: roles for operation, roles in too_far.items() if roles} == {}


@pytest.mark.parametrize("name", SERVICES)
def test_the_auditor_reads_and_changes_nothing(name: str) -> None:
    commands = {
        operation["operationId"]
        for method, _, operation in operations(name)
        if method != "get" and "auditor" in operation["x-permissions"]
    }
    assert commands - OWN_ACCOUNT == set()


def test_a_partner_asks_about_project_eligibility_and_nothing_else() -> None:
    allowed = {operation for operation, row in permissions().items() if "partner" in row}
    assert allowed - OWN_ACCOUNT - OF_NOBODY == {"get_project_eligibility"}
