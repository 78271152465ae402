"""The golden form of every event: its topic, key and JSON Schema, one file each in `events/`.

`python -m tests.guards.golden --write` keeps additions; it refuses a change that breaks a reader, which is
a new type instead (`LoanFiledV2`). Topics are kept for ever: what was once said must stay readable.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.events import EVENTS, Event

FOLDER = Path(__file__).parent / "events"
CONSTRAINTS = ("type", "const", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum")


def form_of(event: type[Event]) -> dict[str, Any]:
    """An event's topic, key and schema, without prose: words may change freely."""
    schema = event.model_json_schema(mode="serialization")
    return {"topic": event.topic, "key": event.key_member, "schema": _without_prose(schema, named=False)}


def _without_prose(part: Any, *, named: bool) -> Any:
    """`named`: the members of this object are names of ours, not words of JSON Schema."""
    if isinstance(part, list):
        return [_without_prose(entry, named=False) for entry in part]
    if not isinstance(part, dict):
        return part
    return {
        key: _without_prose(value, named=not named and key in ("properties", "$defs"))
        for key, value in part.items()
        if named or key not in ("title", "description", "examples")
    }


def kept(name: str) -> dict[str, Any] | None:
    """The form that is kept of an event; None for a new one."""
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text("utf-8")) if file.exists() else None


def breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What a reader of the old form can no longer rely on, or a writer of it no longer satisfies."""
    found = [f"{part}: {old[part]} became {new[part]}" for part in ("topic", "key") if old[part] != new[part]]
    return found + list(_breaks(old["schema"], new["schema"], old["schema"], new["schema"], ""))


def _breaks(
    old: Mapping[str, Any], new: Mapping[str, Any], old_root: Any, new_root: Any, at: str
) -> Iterator[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    where = at or "the event"
    for word in CONSTRAINTS:
        if old.get(word) != new.get(word):
            yield f"{where}: {word} {old.get(word)!r} became {new.get(word)!r}"
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in before.keys() - after.keys():
        yield f"{at}/{name}: gone"
    for name in set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{at}/{name}: " + ("now required" if name in before else "new and required; give it a default")
    for name in set(old.get("required", ())) & after.keys() - set(new.get("required", ())):
        yield f"{at}/{name}: no longer required"
    for name in before.keys() & after.keys():
        yield from _breaks(before[name], after[name], old_root, new_root, f"{at}/{name}")
    for word in ("items", "additionalProperties", "propertyNames"):
        if isinstance(old.get(word), dict) and isinstance(new.get(word), dict):
            yield from _breaks(old[word], new[word], old_root, new_root, f"{at}/{word}")
        elif old.get(word) != new.get(word):
            yield f"{where}: {word} changed"
    one, other = old.get("anyOf", []), new.get("anyOf", [])
    if len(one) != len(other):
        yield f"{where}: other alternatives"
    for before_part, after_part in zip(one, other, strict=False):
        yield from _breaks(before_part, after_part, old_root, new_root, at)


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    found: Mapping[str, Any] = root["$defs"][reference.rsplit("/", 1)[-1]] if reference else schema
    return found


def write() -> list[str]:
    """Keep the forms of today; the breaks that kept it from being written."""
    broken = []
    for name, event in EVENTS.items():
        form, old = form_of(event), kept(name)
        found = breaks(old, form) if old else []
        if found:
            broken += [f"{name}{line}" for line in found]
            continue
        text = json.dumps(form, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        (FOLDER / f"{name}.json").write_text(text, "utf-8")
    return broken


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.guards.golden --write")
    if found := write():
        sys.exit("\n".join([*found, "A change that breaks a reader is a new type: name it <Type>V2."]))
