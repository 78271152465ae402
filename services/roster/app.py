"""Roster composed: its steps in the order of the journey, what it hears, what a day brings."""

from __future__ import annotations

from pathlib import Path

from services.roster import (
    admission,
    case_reads,
    exit,
    guarantor,
    import_reads,
    import_work,
    list_import,
    nomination,
    project_bar,
    reads,
    registration,
    registration_reads,
    revocation,
)
from services.roster.daily import daily
from services.roster.enterprise import Table
from services.roster.reactions import MEMORY, REACTIONS, REMEMBERS
from shared.events import COMPENSATION, GATEWAY, LENDING
from shared.service import Service

SERVICE = Service(
    name="roster",
    title="Roster",
    steps=(
        list_import.steps,
        import_reads.steps,
        nomination.steps,
        revocation.steps,
        admission.steps,
        exit.steps,
        guarantor.steps,
        registration.steps,
        registration_reads.steps,
        project_bar.steps,
        case_reads.steps,
        reads.steps,
    ),
    metadata=Table.metadata,
    migrations=Path(__file__).parent / "migrations",
    hears=(LENDING, COMPENSATION, GATEWAY),
    reactions=REACTIONS,
    remembers=REMEMBERS,
    memory=MEMORY,
    daily=daily,
    background=(import_work.work,),
)
