"""Batches: up to 10,000 lines, each with a result of its own; good lines land, bad lines do not.

A line that does not even validate is one bad line, not a bad batch. Results name the line by its JSON
Pointer and its own reference, and a refused one carries its problem document (R-25, R-27).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler
from starlette.requests import Request

from shared.problems import InvalidInput, Refusal, explain, language_of
from shared.rules import Text

MOST_LINES = 10_000
REFERENCES = ("reference", "contract_number")
"""What names a line of a batch: of a repayment, of a filing."""


@dataclass(frozen=True)
class Faulty:
    """A line that is not even well-formed, with pydantic's errors and its own reference, if it has one."""

    errors: list[Any]
    reference: str | None = None


def or_faulty(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Validator of a line: the line, or `Faulty`, so that the others are still taken."""
    try:
        return handler(value)
    except ValidationError as error:
        return Faulty(list(error.errors(include_url=False)), _reference(value))


def _reference(line: Any) -> str | None:
    """The bank's own reference of a line, by which it finds the line again."""
    named = [line[name] for name in REFERENCES if name in line] if isinstance(line, dict) else []
    return next((one.strip()[:100] for one in named if isinstance(one, str)), None)


class LineResult(BaseModel):
    """What became of one line. `known`: the same line was recorded before, and is not recorded twice."""

    pointer: str
    reference: str | None
    outcome: Literal["done", "known", "refused"]
    id: UUID | None = None
    number: str | None = None
    problem: dict[str, Any] | None = None


class BatchResult(BaseModel):
    """The results in the order of the lines."""

    done: int
    known: int
    refused: int
    results: list[LineResult]


def refused(request: Request, pointer: str, reference: str | None, refusal: Refusal) -> LineResult:
    """The result of a refused line, its problem in the caller's language and pointing into the batch."""
    problem = refusal.body(language_of(request), request.url.path)
    for error in problem.get("errors", ()):
        error["pointer"] = pointer + error["pointer"].removeprefix("#")
    return LineResult(pointer=pointer, reference=reference, outcome="refused", problem=problem)


def malformed(request: Request, faulty: Faulty) -> InvalidInput:
    """The refusal of a line that does not validate."""
    what = Text("本行内容不符合要求", "This line is not well-formed")
    return InvalidInput(what, errors=explain(faulty.errors, language_of(request)))


def summary(results: list[LineResult]) -> BatchResult:
    count = {name: sum(r.outcome == name for r in results) for name in ("done", "known", "refused")}
    return BatchResult(results=results, **count)
