"""The support list as arithmetic on ranges of days, set-based in the database (R-03, R-04, R-05).

An enterprise's days on the list are the union of its qualifications' days less its D-class periods'.
Whatever changes records says what the days become, and `announce_changes` keeps and publishes the
difference. The rows of the enterprises are locked before their days are read anew, so that what is
announced of one enterprise leaves in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import tracing
from shared.events import ROSTER
from shared.measures import measures_on
from shared.outbox import announced_in_sql

LISTED = """
    coalesce((SELECT range_agg(q.days) FROM qualification q
              WHERE q.uscc = {uscc} AND q.superseded_on IS NULL), '{{}}')
    - coalesce((SELECT range_agg(d.days) FROM d_class_period d
                WHERE d.uscc = {uscc} AND d.superseded_on IS NULL), '{{}}')
"""
"""SQL: the days on the list of the enterprise `{uscc}` by the records known now (R-03 less R-04)."""

LISTED_AS_KNOWN = """
    coalesce((SELECT range_agg(q.days) FROM qualification q WHERE q.uscc = {uscc}
              AND q.recorded_on <= :known AND coalesce(q.superseded_on > :known, true)), '{{}}')
    - coalesce((SELECT range_agg(d.days) FROM d_class_period d WHERE d.uscc = {uscc}
                AND d.recorded_on <= :known AND coalesce(d.superseded_on > :known, true)), '{{}}')
"""
"""SQL: the same by the records that were known at the end of the day `:known` (R-05)."""

PERIODS = """
    (SELECT coalesce(json_agg(json_build_object('from_day', lower(r), 'to_day', upper(r) - 1)
                              ORDER BY r), '[]') FROM unnest({days}) AS r)
"""
"""SQL: days on the list as JSON periods, both ends included, `to_day` null without an end."""

WHY = """
    SELECT cause, document FROM (
        SELECT 1 AS rank, CASE WHEN {on} THEN 'd_class_end' ELSE 'd_class_start' END AS cause,
               d.document_no AS document
        FROM d_class_period d WHERE d.uscc = {uscc} AND {known_d}
             AND CASE WHEN {on} THEN upper(d.days) ELSE lower(d.days) END = {day}
        UNION ALL
        SELECT 2, CASE WHEN {on} THEN 'qualification' WHEN q.revoked_from = {day} THEN 'revocation'
                       ELSE 'expiry' END, q.document_no
        FROM qualification q WHERE q.uscc = {uscc} AND {known_q}
             AND CASE WHEN {on} THEN lower(q.days) ELSE upper(q.days) END = {day}
    ) AS reasons ORDER BY rank, document LIMIT 1
"""
"""SQL: why the enterprise `{uscc}` comes on the list (`{on}`) or goes off it on `{day}`, and by which
document, by the records that meet `{known_q}` and `{known_d}` (R-05)."""

FIRST_DIFFERENCE = "lower(({before} - {after}) + ({after} - {before}))"

ANNOUNCE = text(
    """
    WITH told AS MATERIALIZED (
        SELECT uuidv7() AS id, uscc, name, after, from_day, cause, document,
               after @> from_day AS on_list
        FROM change WHERE from_day IS NOT NULL ORDER BY uscc
    ), kept AS (
        INSERT INTO list_change (id, uscc, recorded_on, recorded_at, from_day, on_list, cause, document,
                                 listed)
        SELECT id, uscc, CAST(:today AS date), CAST(:now AS timestamptz), from_day, on_list, cause,
               document, after FROM told
    )
    INSERT INTO outbox (event_id, topic, key, type, time, trace, data)
    SELECT id, :topic, uscc, CASE WHEN on_list THEN 'EnterpriseListed' ELSE 'EnterpriseDelisted' END,
           CAST(:now AS timestamptz), CAST(:trace AS text),
           '{"business_date":"' || CAST(CAST(:today AS date) AS text)
           || '","measures":"' || CAST(:measures AS text)
           || '","uscc":"' || uscc || '","name":' || CAST(to_json(name) AS text) || ',"listed":['
           || coalesce((SELECT string_agg('{"from_day":"' || lower(r) || '","to_day":'
                        || coalesce('"' || (upper(r) - 1) || '"', 'null') || '}', ',' ORDER BY r)
                        FROM unnest(after) AS r), '')
           || '],"from_day":"' || from_day || '","cause":"' || cause
           || '","document":' || CAST(to_json(document) AS text) || '}'
    FROM told
    """
)
"""Keep and publish every row of `change`: the events as pydantic would write them, a test holds it so."""


async def announce_changes(session: AsyncSession, today: date, now: datetime) -> int:
    """Keep and publish what the temporary table `change` says (uscc, name, after, from_day, cause,
    document); rows without a `from_day` change nothing. How many were announced."""
    values = {"today": today, "now": now, "topic": ROSTER, "measures": measures_on(today).version}
    values["trace"] = tracing.traceparent()
    announced: Any = await session.execute(ANNOUNCE, values)
    announced_in_sql(session)
    return int(announced.rowcount)


LOCK = text(
    "SELECT uscc FROM enterprise WHERE uscc = ANY(CAST(:usccs AS text[])) ORDER BY uscc FOR NO KEY UPDATE"
)
CHANGE = text(
    f"""
    CREATE TEMP TABLE change ON COMMIT DROP AS
    SELECT uscc, name, after, {FIRST_DIFFERENCE.format(before="listed", after="after")} AS from_day,
           CAST(NULL AS text) AS cause, CAST(NULL AS text) AS document
    FROM (SELECT e.uscc, e.name, e.listed, {LISTED.format(uscc="e.uscc")} AS after FROM enterprise e
          WHERE e.uscc = ANY(CAST(:usccs AS text[]))) AS e
    """  # noqa: S608  (our own SQL)
)
SAY_WHY = text("UPDATE change SET cause = :cause, document = :document")
RELIST = text("UPDATE enterprise e SET listed = c.after FROM change c WHERE c.uscc = e.uscc")


async def lock(session: AsyncSession, usccs: Sequence[str]) -> None:
    """Lock these enterprises before their records change."""
    await session.execute(LOCK, {"usccs": list(usccs)})


async def relist(
    session: AsyncSession, uscc: str, cause: str, document: str, today: date, now: datetime
) -> None:
    """Bring one enterprise's days on the list to what its records say, and announce the difference. Its
    row is locked; what changed its records is written."""
    await session.flush()
    await session.execute(CHANGE, {"usccs": [uscc]})
    await session.execute(SAY_WHY, {"cause": cause, "document": document})
    await session.execute(RELIST)
    await announce_changes(session, today, now)
