"""Lending composed: its steps in the order of the journey, what it hears, what a day brings."""

from __future__ import annotations

from pathlib import Path

from services.lending import (
    application,
    application_reads,
    approval,
    filing,
    filing_batch,
    overdue,
    rate_exception,
    reads,
    reference_rate,
    repayment,
    reversal,
    roster_case,
    withdrawal,
    working_calendar,
)
from services.lending.daily import daily
from services.lending.loan import Table
from services.lending.reactions import MEMORY, REACTIONS, REMEMBERS
from shared.events import COMPENSATION, GATEWAY, ROSTER
from shared.service import Service

SERVICE = Service(
    name="lending",
    title="Lending",
    steps=(
        reference_rate.steps,
        working_calendar.steps,
        application.steps,
        withdrawal.steps,
        approval.steps,
        filing_batch.steps,
        filing.steps,
        rate_exception.steps,
        repayment.steps,
        reversal.steps,
        overdue.steps,
        application_reads.steps,
        reads.steps,
        roster_case.steps,
    ),
    metadata=Table.metadata,
    migrations=Path(__file__).parent / "migrations",
    hears=(ROSTER, COMPENSATION, GATEWAY),
    remembers=REMEMBERS,
    reactions=REACTIONS,
    memory=MEMORY,
    daily=daily,
)
