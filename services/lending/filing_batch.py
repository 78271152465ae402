"""Many filings at once (R-25): `/v1/loans/batch`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WrapValidator
from starlette.requests import Request

from services.lending.batch import (
    MOST_LINES,
    BatchResult,
    Faulty,
    LineResult,
    malformed,
    or_faulty,
    refused,
    summary,
)
from services.lending.drawdown import EXAMPLE, FileLoan
from services.lending.filing import file_all
from services.lending.loan import Loan
from shared.problems import Refusal
from shared.service import Caller, News, Session, Today, router

steps = router("loans")
Line = Annotated[FileLoan, WrapValidator(or_faulty)]


class FileLoans(BaseModel):
    """Drawdowns to file, in the order in which they use up their approvals."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"loans": [EXAMPLE]}]})

    loans: list[Line] = Field(min_length=1, max_length=MOST_LINES)


@steps.post("/v1/loans/batch", operation_id="file_loans")
async def file_loans(
    body: FileLoans, session: Session, who: Caller, today: Today, news: News, request: Request
) -> BatchResult:
    """File up to 10,000 drawdowns; each line is filed or refused by itself."""
    lines: list[FileLoan | Faulty] = list(body.loans)
    outcomes: dict[int, Loan | Refusal] = {
        place: malformed(request, line) for place, line in enumerate(lines) if isinstance(line, Faulty)
    }
    good = {place: line for place, line in enumerate(lines) if isinstance(line, FileLoan)}
    if good:
        done = await file_all(session, news, who.party_id, list(good.values()), today)
        outcomes |= dict(zip(good, done, strict=True))
    return summary([_result(request, place, lines[place], outcomes[place]) for place in range(len(lines))])


def _result(request: Request, place: int, line: FileLoan | Faulty, outcome: Loan | Refusal) -> LineResult:
    pointer = f"#/loans/{place}"
    reference = line.contract_number if isinstance(line, FileLoan) else line.reference
    if isinstance(outcome, Refusal):
        return refused(request, pointer, reference, outcome)
    return LineResult(
        pointer=pointer, reference=reference, outcome="done", id=outcome.id, number=outcome.number
    )
