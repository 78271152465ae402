"""Write docs/asyncapi.yaml: the events, and which service tells and hears which.

python -m services.asyncapi
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from services.city import SERVICES
from shared.asyncapi import document, to_yaml
from shared.events import Event

PAGE = Path(__file__).parent.parent / "docs" / "asyncapi.yaml"


def hears() -> Mapping[str, Sequence[type[Event]]]:
    """Service → the events it keeps or acts upon."""
    return {name: tuple({**service.remembers, **service.reactions}) for name, service in SERVICES.items()}


def text() -> str:
    """The page as it should be now."""
    return to_yaml(document(hears()))


if __name__ == "__main__":
    PAGE.write_text(text(), "utf-8")
