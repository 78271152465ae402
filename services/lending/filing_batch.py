"""Many filings at once (R-25): `/v1/loans/batch`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WrapValidator
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
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
from services.lending.filed_loan import same_filing
from services.lending.filing import file_all
from services.lending.filing_refusals import ContractNumberTaken
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
    """File up to 10,000 drawdowns; each line is filed, known already, or refused by itself."""
    lines: list[FileLoan | Faulty] = list(body.loans)
    outcomes: dict[int, Loan | Refusal] = {
        place: malformed(request, line) for place, line in enumerate(lines) if isinstance(line, Faulty)
    }
    good = {place: line for place, line in enumerate(lines) if isinstance(line, FileLoan)}
    if good:
        done = await file_all(session, news, who.party_id, list(good.values()), today)
        outcomes |= dict(zip(good, done, strict=True))
    known = await _known(session, good, outcomes)
    outcomes |= known
    return summary(
        [
            _result(request, place, line, outcomes[place], known=place in known)
            for place, line in enumerate(lines)
        ]
    )


async def _known(
    session: AsyncSession, lines: Mapping[int, FileLoan], outcomes: Mapping[int, Loan | Refusal]
) -> dict[int, Loan]:
    """The loans of the lines that were filed before, by the same contract number and the same terms."""
    taken = {
        place: UUID(outcome.facts["loan_id"])
        for place, outcome in outcomes.items()
        if isinstance(outcome, ContractNumberTaken)
    }
    if not taken:
        return {}
    query = select(Loan).where(col(Loan.id).in_(set(taken.values())))
    loans = {loan.id: loan for loan in (await session.execute(query)).scalars()}
    named = {place: loans[loan_id] for place, loan_id in taken.items()}
    return {place: loan for place, loan in named.items() if same_filing(lines[place], loan)}


def _result(
    request: Request, place: int, line: FileLoan | Faulty, outcome: Loan | Refusal, *, known: bool
) -> LineResult:
    pointer = f"#/loans/{place}"
    reference = line.contract_number if isinstance(line, FileLoan) else line.reference
    if isinstance(outcome, Refusal):
        return refused(request, pointer, reference, outcome)
    told = "known" if known else "done"
    return LineResult(
        pointer=pointer, reference=reference, outcome=told, id=outcome.id, number=outcome.number
    )
