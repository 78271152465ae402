"""Questions about imports: how far they are, what became of the rows, the file to mend (R-06)."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import select
from sqlmodel import col
from starlette.requests import Request
from starlette.responses import Response

from services.roster import mend_file
from services.roster.imported import ImportRow, ImportShown, Kind, ListImport, Outcome, State, shown
from shared.pages import Cursor, Limit, Page, page
from shared.problems import NotFound, language_of, refusals
from shared.rules import Language, Text
from shared.service import Session, router

steps = router("imports")
FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An XLSX workbook.",
        "content": {mend_file.XLSX: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ImportInList(BaseModel):
    """An import in the list of imports."""

    id: UUID
    kind: Kind
    category: str | None
    document_no: str
    dry_run: bool
    file_name: str
    state: State
    rows_read: int
    added: int
    renewed: int
    unchanged: int
    refused: int
    uploaded_by_name: str
    uploaded_on: date


class RowProblem(BaseModel):
    """One fault of a row: in which column, by which rule, in both languages."""

    column: str
    rule: str
    zh: str
    en: str


class ImportRowShown(BaseModel):
    """One row of a file and what it leads to."""

    row_number: int
    outcome: Outcome
    uscc: str | None
    name: str | None
    document_no: str | None
    valid_from: date | None
    valid_to: date | None
    problems: list[RowProblem] | None


def _columns(table: type[Any], model: type[BaseModel]) -> list[Any]:
    return [table.__table__.c[name] for name in model.model_fields]


async def _found(session: Session, import_id: UUID) -> ListImport:
    row = await session.get(ListImport, import_id)
    if row is None:
        raise NotFound(Text("未找到这次导入", "No such import"))
    return row


@steps.get("/v1/imports", operation_id="list_imports", response_model=Page[ImportInList])
async def list_imports(session: Session, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Imports, newest first."""
    query = select(*_columns(ListImport, ImportInList))
    order = [col(ListImport.id)]
    return await page(session, query, order=order, limit=limit, cursor=cursor, descending=True)


@steps.get("/v1/imports/template.xlsx", operation_id="get_import_template", responses=FILE | refusals())
async def get_import_template(kind: Kind) -> Response:
    """An empty list with the headings the import knows."""
    return _file(await asyncio.to_thread(mend_file.template, kind), f"{kind}.xlsx")


@steps.get("/v1/imports/{import_id}", operation_id="get_import", responses=refusals(NotFound))
async def get_import(import_id: UUID, session: Session, request: Request) -> ImportShown:
    """How far an import is, and what it led to; for a dry run, what it would lead to."""
    return shown(await _found(session, import_id), language_of(request))


@steps.get(
    "/v1/imports/{import_id}/rows",
    operation_id="list_import_rows",
    response_model=Page[ImportRowShown],
    responses=refusals(NotFound),
)
async def list_import_rows(
    import_id: UUID,
    session: Session,
    outcome: Outcome | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """What became of each row, in the file's order."""
    await _found(session, import_id)
    query = select(*_columns(ImportRow, ImportRowShown)).where(col(ImportRow.import_id) == import_id)
    if outcome:
        query = query.where(col(ImportRow.outcome) == outcome)
    return await page(session, query, order=[col(ImportRow.row_number)], limit=limit, cursor=cursor)


@steps.get(
    "/v1/imports/{import_id}/refused.xlsx",
    operation_id="get_refused_rows",
    responses=FILE | refusals(NotFound),
)
async def get_refused_rows(
    import_id: UUID,
    session: Session,
    request: Request,
    language: Annotated[
        str | None, Query(pattern="^(zh|en)$", description="Of the words; else yours.")
    ] = None,
) -> Response:
    """The refused rows under their own headings, with what to mend: mended, it can be imported as it is."""
    job = await _found(session, import_id)
    query = (
        select(col(ImportRow.row_number), col(ImportRow.cells), col(ImportRow.problems))
        .where(col(ImportRow.import_id) == import_id, col(ImportRow.outcome) == "refused")
        .order_by(col(ImportRow.row_number))
    )
    rows = [(r.row_number, r.cells, r.problems) for r in (await session.execute(query)).all()]
    said: Language = "en" if (language or language_of(request)) == "en" else "zh"
    content = await asyncio.to_thread(mend_file.refused_rows, job.headers or [], rows, said)
    return _file(content, "refused.xlsx")


def _file(content: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=mend_file.XLSX, headers=headers)
