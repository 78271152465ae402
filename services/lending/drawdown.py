"""What an institution files of a drawdown (R-25), singly or as a line of a batch."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.lending.schedule import MOST_DUES, Instalment, RepaymentMethod
from shared.clock import Day
from shared.events import SecurityType
from shared.money import Amount, NonNegative, Rate

EXAMPLE: dict[str, JsonValue] = {
    "application_id": "0199c4a0-5f5e-7cc3-9d0e-2f1f6f3f7a11",
    "contract_number": "JK-2026-0017-01",
    "amount": "3000000.00",
    "annual_rate": "3.4500",
    "disbursed_on": "2026-03-02",
    "matures_on": "2027-03-01",
    "security_type": "credit",
    "repayment_method": "bullet_interest_monthly",
    "due_day": 21,
    "purpose": "采购研发设备",
    "first_loan": False,
}


class DueFiled(BaseModel):
    """One due date of an explicit schedule."""

    model_config = ConfigDict(extra="forbid")

    due_on: Day
    principal: NonNegative
    interest: NonNegative


class FileLoan(BaseModel):
    """A drawdown (借据) of an approval. `dues` with the method `explicit`, and only then."""

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, json_schema_extra={"examples": [EXAMPLE]}
    )

    application_id: UUID
    contract_number: str = Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")
    amount: Amount
    annual_rate: Rate
    disbursed_on: Day
    matures_on: Day
    security_type: SecurityType
    guarantor_id: UUID | None = None
    repayment_method: RepaymentMethod
    due_day: int | None = Field(default=None, ge=1, le=31, description="Default: the disbursement's day.")
    day_count: int | None = Field(default=None, description="Days of a year, 360 unless filed as 365.")
    dues: list[DueFiled] | None = Field(default=None, min_length=1, max_length=MOST_DUES)
    purpose: str | None = Field(
        default=None, min_length=1, max_length=512, description="Default: the application's."
    )
    first_loan: bool
    reference_tenor: Literal["1Y", "5Y"] | None = Field(
        default=None, description="Which LPR it was priced on; needed between one and five years (R-22)."
    )
    rate_reason: str | None = Field(
        default=None, min_length=1, max_length=512, description="Why the rate is above the cap (R-22)."
    )
    renews: UUID | None = Field(default=None, description="The loan this one replaces (R-26).")

    def explicit(self) -> tuple[Instalment, ...] | None:
        """The explicit list of dues, in the order of their days."""
        if self.dues is None:
            return None
        lines = sorted(self.dues, key=lambda due: due.due_on)
        return tuple(Instalment(due.due_on, due.principal, due.interest) for due in lines)
