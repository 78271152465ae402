"""The published language: no event breaks its readers, names a person, or is said by nobody."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services import documents
from shared.asyncapi import document as asyncapi_document
from shared.bus import Outgoing
from shared.events import EVENTS, GATEWAY, LENDING, TOPICS, Event
from shared.kafka_bus import headers_of
from tests.guards.golden import FOLDER, breaks, form_of, kept
from tests.guards.source import CITY, SERVICES, constants, parsed, python, service

PERSONAL = (
    "phone", "mobile", "email", "contact", "representative", "person", "id_number", "id_card", "address",
    "birth", "gender", "signed_by", "decided_by", "entered_by", "voter", "user", "account",
)  # fmt: skip
"""Parts of member names that would tell of a person."""
BY_NAME = sorted(EVENTS.items())


@pytest.mark.parametrize(("name", "event"), BY_NAME)
def test_an_event_keeps_the_form_its_readers_know(name: str, event: type[Event]) -> None:
    old, now = kept(name), form_of(event)
    assert old is not None, f"{name} is new: python -m tests.guards.golden --write"
    broken = breaks(old, now)
    assert broken == [], f"{name} breaks its readers: make it {name}V2, or give what is new a default"
    assert old == now, f"{name} has grown without breaking: python -m tests.guards.golden --write"


def test_no_event_that_was_ever_published_is_gone() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} - EVENTS.keys() == set()


def members(schema: Mapping[str, Any]) -> Iterator[str]:
    for part in (schema, *schema.get("$defs", {}).values()):
        yield from part.get("properties", {})


@pytest.mark.parametrize(("name", "event"), BY_NAME)
def test_an_event_tells_of_no_person(name: str, event: type[Event]) -> None:
    told = [
        member
        for member in members(event.model_json_schema(mode="serialization"))
        if any(word in member for word in PERSONAL)
    ]
    assert told == [], f"{name} is kept for ever and must not hold personal data"


@pytest.mark.parametrize(("name", "event"), BY_NAME)
def test_an_event_is_frozen_dated_and_keyed_by_what_it_must_say(name: str, event: type[Event]) -> None:
    assert event.model_config.get("frozen")
    assert event.model_config.get("extra") == "ignore", "readers ignore what they do not know"
    assert event.topic in TOPICS
    schema = event.model_json_schema(mode="serialization")
    assert event.key_member in schema["properties"]
    assert event.key_member in schema["required"] or event.topic == GATEWAY, "an optional key keeps no order"
    assert {"event_id", "occurred_at"}.isdisjoint(schema["properties"]), "the envelope's own"
    assert {"business_date", "measures"} <= set(schema["required"])
    assert event.__doc__ is None or "TODO" not in event.__doc__


def test_every_topic_is_one_service_s_own() -> None:
    assert [topic.removeprefix("kechuang.") for topic in TOPICS] == list(CITY)


def said_in(name: str) -> set[str]:
    """The events a service's code names as its own saying: built, or by name in set-based SQL."""
    said: set[str] = set()
    for file in python(f"services/{name}"):
        built = (n.func for n in ast.walk(parsed(file)) if isinstance(n, ast.Call))
        said |= {func.id for func in built if isinstance(func, ast.Name) and func.id in EVENTS}
        loaded = {n.id for n in ast.walk(parsed(file)) if isinstance(n, ast.Name) and n.id in EVENTS}
        said |= loaded if file.name != "reactions.py" else set()
        for constant in constants(file):
            if isinstance(constant.value, str) and "INSERT INTO outbox" in constant.value:
                said |= {event for event in EVENTS if event in constant.value}
    return said


NOT_SAID_YET = {
    "CooperationCancelled": "the yearly assessment (R-71) is not built; roster is ready to hear it",
    "LoanCorrected": "corrections (R-29) are not built; compensation is ready to hear them",
}
"""Facts whose hearers are built before their speaker: an event leaves this list when it is first said."""


@pytest.mark.parametrize("name", SERVICES)
def test_every_event_of_a_topic_is_said_by_its_service(name: str) -> None:
    own = {event.__name__ for event in EVENTS.values() if event.topic == f"kechuang.{name}"}
    assert own - said_in(name) - NOT_SAID_YET.keys() == set(), "an event nobody says"
    assert (own & said_in(name)).isdisjoint(NOT_SAID_YET), "said by now: take it off the list"


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_speaks_for_another(name: str) -> None:
    built = {
        node.func.id
        for file in python(f"services/{name}")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in EVENTS
    }
    assert {event for event in built if EVENTS[event].topic != f"kechuang.{name}"} == set()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_reacts_only_to_topics_it_hears(name: str) -> None:
    it = service(name)
    assert {kind.topic for kind in (*it.reactions, *it.remembers)} <= set(it.hears)
    assert set(it.memory) <= set(it.metadata.tables), "what it remembers is kept in its own tables"


def test_the_asyncapi_document_is_what_the_events_say_now() -> None:
    page = documents.DOCS / "asyncapi.yaml"
    assert page.exists(), "run: make docs"
    assert page.read_text("utf-8") == documents.events(), "run: make docs"


def test_the_asyncapi_document_tells_every_event_once() -> None:
    told = asyncapi_document({})
    named = [name for channel in told["channels"].values() for name in channel["messages"]]
    assert sorted(named) == sorted(EVENTS)
    assert named[0] == "EnterpriseListed"
    headers = told["components"]["messages"]["LoanFiled"]["headers"]["properties"]
    assert headers["ce_type"] == {"type": "string", "const": "LoanFiled"}
    assert told["components"]["messages"]["LoanFiled"]["bindings"]["kafka"]["key"]["description"] == "loan_id"
    filed = told["components"]["schemas"]["LoanFiled"]["properties"]
    assert filed["position"] == {"$ref": "#/components/schemas/Position"}
    assert filed["amount"]["type"] == "string"


def test_the_headers_told_are_those_on_the_wire() -> None:
    record = Outgoing(
        LENDING, "key", UUID(int=1), "LoanFiled", datetime(2026, 3, 2, tzinfo=UTC), "00-trace", b"{}"
    )
    wire = {name: value.decode() for name, value in headers_of(record)}
    told = asyncapi_document({})["components"]["messages"]["LoanFiled"]["headers"]
    assert wire.keys() == told["properties"].keys()
    assert set(told["required"]) == wire.keys() - {"ce_traceparent"}
    fixed = {name: schema["const"] for name, schema in told["properties"].items() if "const" in schema}
    assert fixed.items() <= wire.items()
    assert len(fixed) == 4


# ── the guard itself ─────────────────────────────────────────────────────────────────────────────


class Told(Event):
    topic = TOPICS[0]
    loan_id: UUID
    amount: str


class WithMore(Told):
    note: str | None = None


class WithMoreDemanded(Told):
    note: str


class Retyped(Event):
    topic = TOPICS[0]
    loan_id: UUID
    amount: int


class WithLess(Event):
    topic = TOPICS[0]
    loan_id: UUID


def broken_by(event: type[Event]) -> list[str]:
    def form(of: type[Event]) -> dict[str, Any]:
        return {"topic": "t", "key": "k", "schema": of.model_json_schema(mode="serialization")}

    return breaks(form(Told), form(event))


def test_the_guard_tells_what_breaks_from_what_adds() -> None:
    assert broken_by(WithMore) == []
    assert broken_by(WithMoreDemanded) == ["/note: new and required; give it a default"]
    assert broken_by(Retyped) == ["/amount: type 'string' became 'integer'"]
    assert broken_by(WithLess) == ["/amount: gone"]
    assert breaks({"topic": "a", "key": "x", "schema": {}}, {"topic": "b", "key": "x", "schema": {}}) == [
        "topic: a became b"
    ]
