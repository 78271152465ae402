"""What each row of a list would do, and what the list would change, decided in the database (R-06).

The same statements serve a dry run and the real one: they read the records, and write only temporary
tables: `staged` (the rows as read), `checked` (with their outcome), `change` (each enterprise's days on
the list before and after). Applying (import_apply.py) then does what `checked` and `change` say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.roster.imported import Kind
from services.roster.support_list import FIRST_DIFFERENCE

STAGED = (
    "row_number", "uscc", "name", "document_no", "certificate_no", "issued_on", "valid_from", "valid_to",
    "problems", "cells",
)  # fmt: skip
CREATE_STAGED = text(
    "CREATE TEMP TABLE staged (row_number int, uscc text, name text, document_no text, certificate_no text, "
    "issued_on date, valid_from date, valid_to date, problems text, cells text) ON COMMIT DROP"
)


@dataclass(frozen=True)
class Records:
    """The table a kind of list is recorded in, and what is different about it."""

    table: str
    stable_id: str
    category: str
    """SQL: which of the enterprise's records are of the list's category."""
    certificate: str
    """SQL: is the certificate the same."""
    name: str
    """SQL: the name the enterprise is to have: a recognition list renames, a D-class list does not."""


RECORDS: Mapping[Kind, Records] = {
    "qualification": Records(
        "qualification",
        "qualification_id",
        "r.category = :category",
        "r.certificate_no IS NOT DISTINCT FROM s.certificate_no",
        "s.name",
    ),
    "d_class": Records("d_class_period", "d_class_period_id", "true", "true", "coalesce(e.name, s.name)"),
}

CHECK = """
    CREATE TEMP TABLE checked ON COMMIT DROP AS
    SELECT s.row_number, s.uscc, {records.name} AS name, s.document_no, s.certificate_no, s.issued_on,
           s.valid_from, s.valid_to, s.cells, r.id AS previous_id, r.{records.stable_id} AS stable_id,
           CASE WHEN s.problems IS NOT NULL OR s.first_row < s.row_number OR s.name <> s.first_name
                THEN 'refused'
                WHEN r.id IS NULL THEN CASE WHEN EXISTS (
                    SELECT FROM {records.table} r WHERE r.uscc = s.uscc AND {records.category}
                       AND r.superseded_on IS NULL) THEN 'renewed' ELSE 'added' END
                WHEN r.issued_on IS NOT DISTINCT FROM s.issued_on AND r.valid_from = s.valid_from
                     AND r.valid_to IS NOT DISTINCT FROM s.valid_to AND {records.certificate}
                     AND e.name = {records.name} THEN 'unchanged'
                WHEN r.revoked_from IS NOT NULL THEN 'refused'
                ELSE 'renewed' END AS outcome,
           CASE WHEN s.problems IS NOT NULL THEN CAST(s.problems AS jsonb)
                WHEN s.first_row < s.row_number THEN jsonb_build_array(jsonb_build_object(
                    'column', '统一社会信用代码', 'rule', 'R-06',
                    'zh', '与第 ' || s.first_row || ' 行重复（同一企业、同一文件）：请只保留一行',
                    'en', 'the same enterprise and document as in row ' || s.first_row || ': keep one'))
                WHEN s.name <> s.first_name THEN jsonb_build_array(jsonb_build_object(
                    'column', '企业名称', 'rule', 'R-06',
                    'zh', '第 ' || s.named_in || ' 行同一代码的名称为“' || s.first_name || '”：请填同一名称',
                    'en', 'row ' || s.named_in || ' names this code “' || s.first_name || '”: give one name'))
                WHEN r.revoked_from IS NOT NULL AND NOT (
                     r.issued_on IS NOT DISTINCT FROM s.issued_on AND r.valid_from = s.valid_from
                     AND r.valid_to IS NOT DISTINCT FROM s.valid_to AND {records.certificate}
                     AND e.name = {records.name}) THEN jsonb_build_array(jsonb_build_object(
                    'column', '统一社会信用代码', 'rule', 'R-05',
                    'zh', '该文件下的记录已自 ' || r.revoked_from || ' 起撤销：重新认定须有新的文件',
                    'en', 'revoked from ' || r.revoked_from || ' on: a new recognition needs a new document'))
           END AS problems
    FROM (SELECT *, min(row_number) FILTER (WHERE problems IS NULL)
                    OVER (PARTITION BY uscc, document_no) AS first_row,
                 first_value(name) OVER code AS first_name, first_value(row_number) OVER code AS named_in
          FROM staged WINDOW code AS (PARTITION BY uscc ORDER BY problems IS NOT NULL, row_number)) AS s
    LEFT JOIN {records.table} r ON r.uscc = s.uscc AND r.document_no = s.document_no
              AND {records.category} AND r.superseded_on IS NULL AND s.problems IS NULL
    LEFT JOIN enterprise e ON e.uscc = s.uscc
"""

TOUCHED = """
    SELECT uscc, (array_agg(name ORDER BY row_number DESC))[1] AS name,
           (array_agg(document_no ORDER BY valid_from, row_number))[1] AS document,
           range_agg(daterange(valid_from, valid_to + 1)) AS days,
           array_agg(previous_id) FILTER (WHERE previous_id IS NOT NULL) AS previous
    FROM checked WHERE outcome IN ('added', 'renewed') GROUP BY uscc
"""
"""Each enterprise the list changes: with all days the list gives it, and the versions they replace."""

KEPT_Q = (
    "coalesce((SELECT range_agg(q.days) FROM qualification q WHERE q.uscc = t.uscc "
    "AND q.superseded_on IS NULL {but}), '{{}}')"
)
KEPT_D = KEPT_Q.replace("qualification q", "d_class_period q")
BUT = "AND q.id <> ALL(coalesce(t.previous, '{}'))"
AFTER: Mapping[Kind, str] = {
    "qualification": f"({KEPT_Q.format(but=BUT)} + t.days) - {KEPT_D.format(but='')}",
    "d_class": f"{KEPT_Q.format(but='')} - ({KEPT_D.format(but=BUT)} + t.days)",
}
CAUSE: Mapping[Kind, str] = {
    "qualification": "CASE WHEN NOT after @> from_day THEN 'expiry' WHEN isempty(before) THEN 'qualification'"
    " ELSE 'renewal' END",
    "d_class": "CASE WHEN after @> from_day THEN 'd_class_end' ELSE 'd_class_start' END",
}
CHANGE = """
    CREATE TEMP TABLE change ON COMMIT DROP AS
    WITH touched AS ({touched}), compared AS (
        SELECT t.uscc, t.name, t.document, e.uscc IS NULL AS is_new, e.name AS old_name,
               coalesce(e.listed, '{{}}') AS before, {after} AS after
        FROM touched t LEFT JOIN enterprise e ON e.uscc = t.uscc
    ), dated AS (
        SELECT *, CASE WHEN before <> after THEN {first}
                       WHEN old_name <> name AND NOT isempty(after) THEN CAST(:today AS date)
                  END AS from_day FROM compared
    )
    SELECT uscc, name, document, is_new, before, after, from_day, {cause} AS cause FROM dated
"""
"""A new name is announced too, from today: the readers of the list show it."""


async def check(session: AsyncSession, kind: Kind, values: Mapping[str, Any]) -> None:
    """Fill `checked` and `change` from `staged`. `values`: category, today."""
    await session.execute(text("ANALYZE staged"))
    statement = text(CHECK.format(records=RECORDS[kind]))
    wanted = {"category": values["category"]} if kind == "qualification" else {}
    await session.execute(statement, wanted)
    await session.execute(text("ANALYZE checked"))
    change = CHANGE.format(
        touched=TOUCHED,
        after=AFTER[kind],
        cause=CAUSE[kind],
        first=FIRST_DIFFERENCE.format(before="before", after="after"),
    )
    await session.execute(text(change), {"today": values["today"]})


COUNTS = text(
    """
    SELECT (SELECT coalesce(json_object_agg(outcome, n), '{}') FROM
              (SELECT outcome, count(*) AS n FROM checked GROUP BY outcome) AS by_outcome) AS outcomes,
           (SELECT count(*) FROM change WHERE from_day IS NOT NULL) AS changed,
           (SELECT coalesce(json_agg(s), '[]') FROM
              (SELECT uscc, name, from_day, after @> from_day AS on_list, cause FROM change
               WHERE from_day IS NOT NULL ORDER BY uscc LIMIT 20) AS s) AS sample
    """
)
