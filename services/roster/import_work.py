"""The work behind an upload, beside the service (R-06): read, check, apply, one import after the other.

The job and its file are in the database. All effects are one transaction, so a process that dies in the
middle leaves nothing half done, and whoever is next begins the import from the start. One replica works
at a time. The file is read in a thread and its rows go to the database in portions, so that the service
goes on answering meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, cast
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.roster import import_apply, import_check
from services.roster.import_reading import Reading, read_and_stage
from services.roster.imported import UNFINISHED, ImportFile, Kind, ListImport
from services.roster.list_columns import Given
from services.roster.workbook import FileRefused
from shared import audit, tracing
from shared.database import Database
from shared.service import Running

log = logging.getLogger("kechuang.import")
POLL_SECONDS = 1
TRIES = 30
A_FAILURE = 5
"""Beginnings count one (a process may be stopped in the middle any time), failures so much more."""
ALONE = text("SELECT pg_try_advisory_xact_lock(hashtext('kechuang.imports'))")
ROOM = text("SET LOCAL work_mem = '64MB'")
"""A hundred thousand rows are sorted and matched in memory."""
_bells: WeakKeyDictionary[Database, asyncio.Event] = WeakKeyDictionary()


def bell(database: Database) -> asyncio.Event:
    """Rung when an import waits."""
    return _bells.setdefault(database, asyncio.Event())


async def work(running: Running) -> None:
    """For ever: work off what waits; woken by an upload, with a slow poll as its net."""
    rung = bell(running.database)
    while True:
        try:
            while await work_one(running):
                pass
        except Exception:
            log.exception("an import failed; it begins anew")
            await _count_failure(running)
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await rung.wait()
        rung.clear()


async def work_one(running: Running) -> bool:
    """Work off the oldest unfinished import; False when there is none, or a sibling is at it."""
    async with running.database.transaction() as session:
        if not (await session.execute(ALONE)).scalar_one():
            return False
        oldest = select(ListImport).where(UNFINISHED).order_by(col(ListImport.id)).limit(1)
        job = (await session.execute(oldest)).scalar_one_or_none()
        if job is None:
            return False
        session.expunge(job)
        try:
            await _note(running, job.id, attempts=job.attempts + 1, state="reading")
            _not_for_ever(job)
            with tracing.Part("import_list", parent=tracing.ROOT):
                done = await Work(running, session, job).run()
        except FileRefused as refusal:
            words = {"rule": refusal.rule, "zh": refusal.words.zh, "en": refusal.words.en}
            done = {"state": "refused", "refusal": words}
        await _finish(running, session, job, done)
    return True


async def _count_failure(running: Running) -> None:
    """The oldest unfinished import failed; with the database away nothing is counted."""
    oldest = select(col(ListImport.id)).where(UNFINISHED).order_by(col(ListImport.id)).limit(1)
    failed = update(ListImport).where(col(ListImport.id) == oldest.scalar_subquery())
    with suppress(DBAPIError, OSError):
        async with running.database.transaction() as session:
            await session.execute(failed.values(attempts=col(ListImport.attempts) + A_FAILURE))


def _not_for_ever(job: ListImport) -> None:
    """An import that fails again and again must not keep the others waiting."""
    if job.attempts >= TRIES:
        raise FileRefused(
            "多次处理失败，未作任何更改：请联系系统维护人员",
            "it failed again and again; nothing changed: call those who run the system",
        )


async def _note(running: Running, import_id: UUID, **told: Any) -> None:
    """Tell how far the import is, in a transaction of its own."""
    async with running.database.transaction() as session:
        await session.execute(update(ListImport).where(col(ListImport.id) == import_id).values(**told))


async def _finish(running: Running, session: AsyncSession, job: ListImport, done: dict[str, Any]) -> None:
    now = running.clock.now()
    finished = update(ListImport).where(col(ListImport.id) == job.id).values(finished_at=now, **done)
    await session.execute(finished)
    audit.begin(
        session,
        audit.Deed(
            operation="import_list",
            at=now,
            subject=job.uploaded_by,
            name=job.uploaded_by_name,
            roles=("office",),
            party=None,
            request_id=str(job.id),
        ),
    )
    told = {key: value for key, value in done.items() if key not in ("sample", "headers")}
    audit.note(session, str(job.id), table="list_import", document=job.document_no, after=told)


class Work:
    """One import at work in one transaction."""

    def __init__(self, running: Running, session: AsyncSession, job: ListImport) -> None:
        self.running = running
        self.session = session
        self.job = job
        self.kind = cast(Kind, job.kind)

    async def run(self) -> dict[str, Any]:
        """Read, check, and unless it is a dry run apply; what to tell of it."""
        await self.session.execute(ROOM)
        await self.session.execute(import_check.CREATE_STAGED)
        reading = await self._read_and_stage()
        await self._note(state="checking", rows_read=len(reading.rows))
        values = {
            "import_id": self.job.id,
            "category": self.job.category,
            "today": self.running.clock.today(),
            "now": self.running.clock.now(),
        }
        if not self.job.dry_run:
            await import_apply.lock_known(self.session)
        await import_check.check(self.session, self.kind, values)
        counts = (await self.session.execute(import_check.COUNTS)).one()
        if not self.job.dry_run:
            await self._note(state="applying")
            await import_apply.apply(self.session, self.kind, values)
        await import_apply.keep_rows(self.session, self.job.id)
        assert reading.sheet is not None
        return {
            "state": "done",
            "sheet": reading.sheet.name,
            "headers": reading.sheet.headers,
            "rows_read": len(reading.rows),
            "rows_done": len(reading.rows),
            "enterprises_changed": counts.changed,
            "sample": counts.sample,
            **counts.outcomes,
        }

    async def _note(self, **told: Any) -> None:
        await _note(self.running, self.job.id, **told)

    async def _read_and_stage(self) -> Reading:
        query = select(col(ImportFile.content)).where(col(ImportFile.import_id) == self.job.id)
        content = (await self.session.execute(query)).scalar_one()
        days = (self.job.issued_on, self.job.valid_from, self.job.valid_to)
        given = Given(self.kind, self.job.document_no, *days, today=self.running.clock.today())

        async def tell(rows_read: int) -> None:
            await self._note(rows_read=rows_read)

        return await read_and_stage(self.session, content, given, tell)
