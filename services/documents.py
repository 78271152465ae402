"""The documents that are woven from the code: docs/openapi.json (the interface) and docs/asyncapi.yaml (the
events, and which service tells and hears which). Neither needs a database.

python -m services.documents
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.city import SERVICES, offline_documents
from services.gateway.openapi import merge
from shared.asyncapi import document, to_yaml
from shared.events import Event

DOCS = Path(__file__).parent.parent / "docs"


def hears() -> Mapping[str, Sequence[type[Event]]]:
    """Service → the events it keeps or acts upon."""
    return {name: tuple({**service.remembers, **service.reactions}) for name, service in SERVICES.items()}


def interface() -> str:
    """docs/openapi.json as it should be now."""
    return json.dumps(merge(offline_documents()), ensure_ascii=False, indent=1) + "\n"


def events() -> str:
    """docs/asyncapi.yaml as it should be now."""
    return to_yaml(document(hears()))


if __name__ == "__main__":
    (DOCS / "openapi.json").write_text(interface(), "utf-8")
    (DOCS / "asyncapi.yaml").write_text(events(), "utf-8")
