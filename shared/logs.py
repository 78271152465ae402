"""What the process says of itself: lines for people on a terminal, or one JSON object per record.

Every record tells the service, the trace and the request it belongs to. No record may hold personal data:
the words of a database's refusal (`DETAIL: Failing row contains …`) and the input a validation refused are
left out, and libraries below us are silent but for warnings, because their debug lines hold statements and
messages whole.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

from shared import tracing

OURS = "kechuang"
DETAIL = re.compile(r"(DETAIL|CONTEXT|HINT):.*?(?=\\n|\n|$)")
"""What PostgreSQL adds to a refusal: it quotes values."""
TOLD_AT_MOST = 2000
EXTRA = ("operation", "method", "status", "duration_ms", "party")
"""Members an access line adds."""
Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def set_up(form: Literal["text", "json"], level: str) -> None:
    """Let this process's records go to standard error in this form; ours from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Plain())
    wanted = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(wanted, logging.WARNING), handlers=[handler], force=True)
    for name in (OURS, "uvicorn"):
        logging.getLogger(name).setLevel(wanted)
    logging.getLogger("uvicorn").propagate = True


class Careful(logging.Formatter):
    """Keeps values out of records."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        record.message = without_details(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Raised) -> str:  # noqa: N802  (logging's name)
        return "".join(_told(ei[1])) if ei[1] is not None else ""


class Plain(Careful):
    """For people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")


class Json(Careful):
    """For machines: one object a line."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_details(record.getMessage()),
            "service": tracing.service.get(),
            "trace_id": tracing.trace_id(),
            "request_id": tracing.request_id.get(),
        }
        said |= {name: record.__dict__[name] for name in EXTRA if name in record.__dict__}
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps({k: v for k, v in said.items() if v not in ("", None)}, ensure_ascii=False)


def without_details(words: str) -> str:
    return DETAIL.sub(r"\1: (not logged)", words)[:TOLD_AT_MOST]


def _told(error: BaseException) -> Iterator[str]:
    """The error and what led to it, oldest first: where each was raised, and its words without values."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _told(cause)
        yield "\nwhich led to\n\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__module__}.{type(error).__qualname__}: {words_of(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        for number, part in enumerate(error.exceptions, 1):
            yield f"\npart {number}\n\n"
            yield from _told(part)


def words_of(error: BaseException) -> str:
    """What the error says, without the values it was given: of a failed validation only the places."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        told: Any = errors()
        return "; ".join(f"{entry.get('type')} at {_place(entry.get('loc', ()))}" for entry in told)
    return without_details(str(error))


def _place(location: Any) -> str:
    return "/".join(str(part) for part in location)
