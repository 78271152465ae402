"""The events as an AsyncAPI 3.0 document: one channel per topic, one message per event.

On the wire (Kafka, binary content mode of CloudEvents 1.0): the attributes are `ce_` headers, the record's
key is the member that keeps order, the value is the JSON data. Who hears what is told by the caller: the
shared ground knows no service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from shared.events import EVENTS, TOPICS, Event

SCHEMAS = "#/components/schemas/"
DESCRIPTION = (
    "The facts the services tell one another, in the past tense. Delivery is at least once and in order per "
    "key; `ce_id` tells a repeated fact. Readers ignore members they do not know; a change that breaks a "
    "reader is a new type. Topics are kept for ever, and no event holds personal data."
)
PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$./-]*")
NOT_PLAIN = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def document(hears: Mapping[str, Sequence[type[Event]]]) -> dict[str, Any]:
    """The AsyncAPI document. `hears`: service → the events it takes in."""
    events = [event for topic in TOPICS for event in EVENTS.values() if event.topic == topic]
    _, found = models_json_schema(
        [(event, "serialization") for event in events], ref_template=SCHEMAS + "{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Kechuang 科创贷: events", "version": "1", "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {name_of(topic): _channel(topic, events) for topic in TOPICS},
        "operations": {**_sends(events), **_receives(hears)},
        "components": {
            "messages": {event.__name__: _message(event) for event in events},
            "schemas": dict(sorted(found["$defs"].items())),
        },
    }


def name_of(topic: str) -> str:
    """A topic's short name: that of the service that speaks on it."""
    return topic.rsplit(".", 1)[-1]


def _channel(topic: str, events: Sequence[type[Event]]) -> dict[str, Any]:
    own = [event.__name__ for event in events if event.topic == topic]
    return {
        "address": topic,
        "description": f"The facts of {name_of(topic)}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in own},
        "bindings": {
            "kafka": {
                "topic": topic,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": -1,
                    "retention.bytes": -1,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _message(event: type[Event]) -> dict[str, Any]:
    words = " ".join((event.__doc__ or "").split())
    return {
        "name": event.__name__,
        **({"summary": words} if words and event.__doc__ != Event.__doc__ else {}),
        "contentType": "application/json",
        "headers": _headers(event),
        "payload": {"$ref": SCHEMAS + event.__name__},
        "bindings": {
            "kafka": {"key": {"type": "string", "description": event.key_member}, "bindingVersion": "0.5.0"}
        },
    }


def _headers(event: type[Event]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"],
        "properties": {
            "ce_specversion": {"type": "string", "const": "1.0"},
            "ce_id": {
                "type": "string",
                "format": "uuid",
                "description": "The same when a fact is sent again.",
            },
            "ce_source": {"type": "string", "const": f"/{event.topic}"},
            "ce_type": {"type": "string", "const": event.__name__},
            "ce_time": {"type": "string", "format": "date-time"},
            "content-type": {"type": "string", "const": "application/json"},
            "ce_traceparent": {"type": "string", "description": "W3C trace context, if the command had one."},
        },
    }


def _sends(events: Sequence[type[Event]]) -> dict[str, Any]:
    return {
        f"{name_of(topic)}_tells": _operation(
            "send", topic, [event for event in events if event.topic == topic]
        )
        for topic in TOPICS
    }


def _receives(hears: Mapping[str, Sequence[type[Event]]]) -> dict[str, Any]:
    return {
        f"{service}_hears_{name_of(topic)}": _operation(
            "receive", topic, [event for event in EVENTS.values() if event.topic == topic and event in taken]
        )
        for service, taken in hears.items()
        for topic in TOPICS
        if any(event.topic == topic for event in taken)
    }


def _operation(action: str, topic: str, events: Sequence[type[Event]]) -> dict[str, Any]:
    channel = f"#/channels/{name_of(topic)}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{event.__name__}"} for event in events],
    }


# ── YAML ─────────────────────────────────────────────────────────────────────────────────────────


def to_yaml(document: Mapping[str, Any]) -> str:
    """The document as YAML: block style, scalars in JSON's form, which is YAML's too."""
    return "\n".join(_lines(document, "")) + "\n"


def _lines(part: Any, indent: str) -> Iterator[str]:
    if isinstance(part, Mapping):
        for key, value in part.items():
            yield from _entry(f"{indent}{_key(key)}:", value, indent + "  ")
    else:
        for value in part:
            first, *rest = _lines(value, indent + "  ") if _nested(value) else [f"{indent}  {_scalar(value)}"]
            yield f"{indent}- {first.removeprefix(indent + '  ')}"
            yield from rest


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if _nested(value):
        yield head
        yield from _lines(value, indent)
    else:
        yield f"{head} {_scalar(value)}"


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list) and bool(value)


def _key(key: str) -> str:
    return key if PLAIN.fullmatch(key) and key.lower() not in NOT_PLAIN else _scalar(key)


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
