"""Compensation composed: its steps in the order of the journey, and what it hears."""

from __future__ import annotations

from pathlib import Path

from services.compensation import (
    appropriation,
    credit_record,
    deliberation,
    payout,
    readiness,
    reads,
    receipt,
    recovery,
    returning,
    submission,
    write_off,
)
from services.compensation.claim import Table
from services.compensation.reactions import MEMORY, REACTIONS, REMEMBERS
from shared.events import GATEWAY, LENDING
from shared.service import Service

SERVICE = Service(
    name="compensation",
    title="Compensation",
    steps=(
        appropriation.steps,
        readiness.steps,
        submission.steps,
        deliberation.steps,
        returning.steps,
        payout.steps,
        credit_record.steps,
        recovery.steps,
        receipt.steps,
        write_off.steps,
        reads.steps,
    ),
    metadata=Table.metadata,
    migrations=Path(__file__).parent / "migrations",
    hears=(LENDING, GATEWAY),
    remembers=REMEMBERS,
    reactions=REACTIONS,
    memory=MEMORY,
)
