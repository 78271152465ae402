"""Do what was checked (R-06): records, days on the list, what is announced, and each row's outcome.

A handful of statements over all rows, in the transaction of the check, so all of it holds or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.roster.import_check import RECORDS
from services.roster.imported import Kind
from services.roster.support_list import announce_changes

LOCK_KNOWN = text(
    "SELECT count(*) FROM (SELECT FROM enterprise WHERE uscc IN (SELECT uscc FROM staged) "
    "ORDER BY uscc FOR NO KEY UPDATE) AS held"
)
NEW_ENTERPRISES = text(
    "INSERT INTO enterprise (uscc, name, listed) SELECT uscc, name, after FROM change "
    "WHERE is_new ORDER BY uscc"
)
KNOWN_ENTERPRISES = text(
    "UPDATE enterprise e SET name = c.name, listed = c.after FROM change c "
    "WHERE NOT c.is_new AND e.uscc = c.uscc AND (e.name, e.listed) IS DISTINCT FROM (c.name, c.after)"
)
KEEP_ROWS = text(
    "INSERT INTO import_row (import_id, row_number, outcome, uscc, name, document_no, valid_from, valid_to, "
    "problems, cells) SELECT CAST(:import_id AS uuid), row_number, outcome, uscc, name, document_no, "
    "valid_from, valid_to, problems, CASE WHEN outcome = 'refused' THEN cells END FROM checked "
    "ORDER BY row_number"
)


def _supersede(table: str) -> TextClause:
    return text(
        f"UPDATE {table} r SET superseded_on = :today, superseded_at = :now "  # noqa: S608  (our own tables)
        "FROM checked c WHERE r.id = c.previous_id AND c.outcome = 'renewed'"
    )


def _record(kind: Kind) -> TextClause:
    records = RECORDS[kind]
    more, values = ("category, certificate_no, ", ":category, certificate_no, ")
    if kind == "d_class":
        more = values = ""
    return text(
        f"INSERT INTO {records.table} (id, {records.stable_id}, uscc, {more}document_no, issued_on, "  # noqa: S608
        "valid_from, valid_to, source, source_id, recorded_on, recorded_at) "
        f"SELECT id, coalesce(stable_id, id), uscc, {values}document_no, issued_on, valid_from, valid_to, "
        "'import', CAST(:import_id AS uuid), CAST(:today AS date), CAST(:now AS timestamptz) "
        "FROM (SELECT uuidv7() AS id, * FROM checked WHERE outcome IN ('added', 'renewed') "
        "ORDER BY row_number) AS c"
    )


async def lock_known(session: AsyncSession) -> None:
    """Lock the known enterprises of `staged`, before the check reads their records."""
    await session.execute(LOCK_KNOWN)


async def apply(session: AsyncSession, kind: Kind, values: Mapping[str, Any]) -> None:
    """Write what `checked` and `change` say. `values`: import_id, category, today, now. A twin that made
    one of the new enterprises meanwhile makes this fail, and the import begins anew."""
    today, now = values["today"], values["now"]
    await session.execute(NEW_ENTERPRISES)
    await session.execute(KNOWN_ENTERPRISES)
    await session.execute(_supersede(RECORDS[kind].table), {"today": today, "now": now})
    wanted = dict(values) if kind == "qualification" else {k: v for k, v in values.items() if k != "category"}
    await session.execute(_record(kind), wanted)
    await announce_changes(session, today, now)


async def keep_rows(session: AsyncSession, import_id: object) -> None:
    """Keep what became of each row, to be read and mended."""
    await session.execute(KEEP_ROWS, {"import_id": import_id})
