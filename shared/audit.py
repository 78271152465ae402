"""Who did what, when, on whose behalf, before and after (R-81): append-only, sealed a moment later.

The row is written in the command's transaction. A hash chain inside the transaction would make every
command wait for every other, so one sealer per service chains the rows after they are committed:
seal n = SHA-256(seal n-1 ‖ n ‖ row). A row that was changed, removed or left unsealed is found by
`verify`, and the last seal printed and kept elsewhere proves all that came before it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, BigInteger, LargeBinary, bindparam, event, inspect, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session as SyncSession

if TYPE_CHECKING:
    from shared.database import Database

GENESIS = b"\x00" * 32
MASK = "***"


@dataclass(frozen=True, slots=True)
class Deed:
    """The frame of one audited command: operation, time, and who acted for whom."""

    operation: str
    at: datetime
    subject: str
    name: str
    roles: tuple[str, ...]
    party: str | None
    request_id: str


def begin(session: AsyncSession, deed: Deed) -> None:
    """Say whose deed the rest of this transaction is; without it nothing is audited."""
    session.info["deed"] = deed


def note(session: AsyncSession, ref: str, **facts: Any) -> None:
    """Audit what was done by set-based SQL, which the watch on mapped rows cannot see."""
    session.info.setdefault("noted", []).append({"ref": ref, **facts})


class WatchedSession(SyncSession):
    """A session that collects the mapped rows it creates and changes, before and after."""


@event.listens_for(WatchedSession, "before_flush")
def _collect(session: SyncSession, _context: Any, _instances: Any) -> None:
    if "deed" not in session.info:
        return
    session.info.setdefault("created", []).extend(session.new)
    changed = session.info.setdefault("changed", {})
    for row in session.dirty:
        state = inspect(row)
        before = {
            attribute.key: attribute.history.deleted[0]
            for attribute in state.attrs
            if attribute.history.deleted
        }
        if before:
            changed[id(row)] = (row, before | changed.get(id(row), (row, {}))[1])


def _shown(row: Any, keys: Mapping[str, Any] | None = None) -> dict[str, Any]:
    columns = inspect(type(row)).columns
    values = {name: row.__dict__.get(name) for name in (keys or columns.keys())}
    return {
        name: MASK if value is not None and columns[name].info.get("personal") else value
        for name, value in values.items()
        if value is not None or keys is not None
    }


def _masked(row: Any, before: Mapping[str, Any]) -> dict[str, Any]:
    columns = inspect(type(row)).columns
    return {n: MASK if columns[n].info.get("personal") else v for n, v in before.items()}


def _ref(row: Any) -> str:
    return ":".join(str(value) for value in inspect(row).identity or ())


def take_deed(session: AsyncSession) -> tuple[str, list[str]] | None:
    """The entry (JSON) and refs of this session's audit row, for its closing statement."""
    deed: Deed | None = session.info.pop("deed", None)
    if deed is None:
        return None
    created = session.info.get("created", [])
    changes = [{"table": row.__tablename__, "ref": _ref(row), "after": _shown(row)} for row in created] + [
        {
            "table": row.__tablename__,
            "ref": _ref(row),
            "before": _masked(row, before),
            "after": _shown(row, before),
        }
        for row, before in session.info.get("changed", {}).values()
        if row not in created
    ]
    noted = session.info.pop("noted", [])
    entry = {
        "at": deed.at.isoformat(),
        "operation": deed.operation,
        "subject": deed.subject,
        "name": deed.name,
        "roles": deed.roles,
        "party": deed.party,
        "request_id": deed.request_id,
        "changes": changes + noted,
    }
    refs = sorted({str(change["ref"]) for change in (*changes, *noted)})
    return json.dumps(entry, ensure_ascii=False, default=str), refs


UNSEALED = text(
    "SELECT id, entry::text AS entry, refs FROM audit WHERE seal_no IS NULL ORDER BY id LIMIT 500"
)
LAST = text("SELECT seal_no, seal FROM audit WHERE seal_no IS NOT NULL ORDER BY seal_no DESC LIMIT 1")
SEAL = text(
    "UPDATE audit SET seal_no = s.no, seal = s.seal "
    "FROM unnest(:ids, :nos, :seals) AS s(id, no, seal) WHERE audit.id = s.id"
).bindparams(
    bindparam("ids", type_=ARRAY(BigInteger)),
    bindparam("nos", type_=ARRAY(BigInteger)),
    bindparam("seals", type_=ARRAY(LargeBinary)),
)
ALONE = text("SELECT pg_try_advisory_xact_lock(hashtext('kechuang.sealer'))")


def seal_of(previous: bytes, number: int, row_id: int, entry: str, refs: list[str]) -> bytes:
    """The seal of one row: SHA-256 over the last seal, the row's place and all it says."""
    said = json.dumps([number, row_id, entry, refs], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(previous + said.encode()).digest()


async def seal_some(database: Database) -> int:
    """Seal up to 500 rows; how many. Only one sealer works at a time."""
    async with database.transaction() as session:
        if not (await session.execute(ALONE)).scalar_one():
            return 0
        rows = (await session.execute(UNSEALED)).all()
        if not rows:
            return 0
        last = (await session.execute(LAST)).first()
        number, seal = (last.seal_no, last.seal) if last else (0, GENESIS)
        ids, numbers, seals = [], [], []
        for row in rows:
            number += 1
            seal = seal_of(seal, number, row.id, row.entry, list(row.refs))
            ids.append(row.id)
            numbers.append(number)
            seals.append(seal)
        await session.execute(SEAL, {"ids": ids, "nos": numbers, "seals": seals})
    return len(rows)


class Sealer:
    """Seals what is committed, woken at each commit, with a slow poll as its net."""

    def __init__(self, database: Database, *, poll_seconds: float = 1.0) -> None:
        self.database = database
        self.poll_seconds = poll_seconds
        self.woken = asyncio.Event()
        database.on_commit.append(self.woken.set)

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.poll_seconds):
                    await self.woken.wait()
            self.woken.clear()
            while await seal_some(self.database) == 500:
                pass


PAGE = text(
    "SELECT seal_no, seal, id, entry::text AS entry, refs FROM audit "
    "WHERE seal_no > :after ORDER BY seal_no LIMIT 5000"
)
OPEN = text("SELECT id FROM audit WHERE seal_no IS NULL AND recorded_at < :before ORDER BY id LIMIT 20")


async def verify(database: Database, before: datetime) -> list[str]:
    """Recompute the whole chain; what is wrong, in words (empty: nothing). Rows of before `before`
    that are still unsealed are named too."""
    faults: list[str] = []
    number, seal = 0, GENESIS
    async with database.reading() as session:
        while rows := (await session.execute(PAGE, {"after": number})).all():
            for row in rows:
                if row.seal_no != number + 1:
                    faults.append(f"rows {number + 1} to {row.seal_no - 1} are gone")
                number = row.seal_no
                if seal_of(seal, number, row.id, row.entry, list(row.refs)) != row.seal:
                    faults.append(f"row {number} (id {row.id}) does not match its seal")
                seal = row.seal
        unsealed = await session.execute(OPEN, {"before": before})
        faults += [f"row id {row.id} was never sealed" for row in unsealed]
    return faults
