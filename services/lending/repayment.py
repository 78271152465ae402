"""Money comes back (R-27): the institution posts what it received, singly or thousands of lines at once."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, WrapValidator, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

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
from services.lending.posting import (
    ItIsARecovery,
    Line,
    MoreThanOutstanding,
    Posted,
    ReferenceUsed,
    ValueDateImpossible,
)
from services.lending.received import post_all
from services.lending.shown import RepaymentShown, repayment_shown
from shared.clock import Day
from shared.money import NonNegative
from shared.problems import IllegalMove, NotFound, Refusal, refusals
from shared.service import Caller, Session, Today, router

steps = router("repayments")
Reference = Annotated[str, Field(min_length=1, max_length=100)]


EXAMPLE: dict[str, JsonValue] = {
    "reference": "HK-20260402-000017",
    "principal": "100000.00",
    "interest": "3625.00",
    "value_date": "2026-04-02",
}
EXAMPLE_OF_LOAN: dict[str, JsonValue] = {"loan_id": "0199c4a0-5f5e-7cc3-9d0e-2f1f6f3f7a11", **EXAMPLE}


class RecordRepayment(BaseModel):
    """Money received: the bank's own reference, the split it states, and the value date."""

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, json_schema_extra={"examples": [EXAMPLE]}
    )

    reference: Reference
    principal: NonNegative
    interest: NonNegative
    value_date: Day

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.principal and not self.interest:
            raise PydanticCustomError(
                "money_nothing", "本金和利息不能都为零; principal or interest above zero"
            )
        return self

    def line(self, loan_id: UUID) -> Line:
        return Line(loan_id, self.reference, self.value_date, self.principal, self.interest)


class RepaymentOfLoan(RecordRepayment):
    """A line of a batch: money received on the loan it names."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_OF_LOAN]})

    loan_id: UUID


class RecordRepayments(BaseModel):
    """A day's repayments, recorded in this order."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"repayments": [EXAMPLE_OF_LOAN]}]}
    )

    repayments: list[Annotated[RepaymentOfLoan, WrapValidator(or_faulty)]] = Field(
        min_length=1, max_length=MOST_LINES
    )


@steps.post(
    "/v1/loans/{loan_id}/repayments",
    operation_id="record_repayment",
    status_code=201,
    responses=refusals(
        ReferenceUsed, MoreThanOutstanding, ValueDateImpossible, ItIsARecovery, IllegalMove, NotFound
    ),
)
async def record_repayment(
    loan_id: UUID, body: RecordRepayment, session: Session, who: Caller, today: Today, response: Response
) -> RepaymentShown:
    """Record money received. The same reference again answers the same repayment, with 200."""
    (outcome,) = await post_all(session, who.party_id, [body.line(loan_id)], today)
    return answer(outcome, response)


def answer(outcome: Posted | Refusal, response: Response) -> RepaymentShown:
    """The posting as the reply to a single one. Raises its refusal."""
    if isinstance(outcome, Refusal):
        raise outcome
    if outcome.known:
        response.status_code = HTTPStatus.OK
    response.headers["Location"] = f"/v1/loans/{outcome.row.loan_id}/repayments"
    return repayment_shown(outcome.row)


@steps.post("/v1/repayments/batch", operation_id="record_repayments")
async def record_repayments(
    body: RecordRepayments, session: Session, who: Caller, today: Today, request: Request
) -> BatchResult:
    """Record up to 10,000 repayments; each line is recorded, known already, or refused by itself."""
    lines: list[RepaymentOfLoan | Faulty] = list(body.repayments)
    outcomes: dict[int, Posted | Refusal] = {
        place: malformed(request, line) for place, line in enumerate(lines) if isinstance(line, Faulty)
    }
    good = {place: line for place, line in enumerate(lines) if isinstance(line, RepaymentOfLoan)}
    if good:
        postings = [line.line(line.loan_id) for line in good.values()]
        done = await post_all(session, who.party_id, postings, today)
        outcomes |= dict(zip(good, done, strict=True))
    return summary([_result(request, place, lines[place], outcomes[place]) for place in range(len(lines))])


def _result(
    request: Request, place: int, line: RepaymentOfLoan | Faulty, outcome: Posted | Refusal
) -> LineResult:
    pointer = f"#/repayments/{place}"
    if isinstance(outcome, Refusal):
        return refused(request, pointer, line.reference, outcome)
    told = "known" if outcome.known else "done"
    return LineResult(pointer=pointer, reference=line.reference, outcome=told, id=outcome.row.id)
