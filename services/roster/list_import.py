"""A recognition document's list or a D-class list comes in as a file (R-06); the work is beside the service.

A dry run shows what would change and changes nothing. The file's rows that were refused can be had as a
file, to be mended and imported again as it is.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Annotated

from fastapi import File, Form, UploadFile
from sqlalchemy import insert
from starlette.requests import Request
from starlette.responses import Response

from services.roster import policy
from services.roster.import_work import bell
from services.roster.imported import ImportFile, ImportShown, Kind, ListImport, shown
from shared.database import new_id
from shared.measures import measures_on
from shared.problems import FieldError, InvalidInput, Refusal, TooLarge, language_of, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Here, Session, router

steps = router("imports")
LARGEST = 50 * 1024 * 1024


class NotToBeImported(Refusal):
    status = 422
    title = Text("不能导入", "Not to be imported")


@steps.post(
    "/v1/imports",
    operation_id="import_list",
    status_code=202,
    responses=refusals(NotToBeImported, TooLarge),
)
async def import_list(
    session: Session,
    who: Caller,
    here: Here,
    request: Request,
    response: Response,
    file: Annotated[UploadFile, File(description="XLSX, or CSV in UTF-8 or GB18030.")],
    kind: Annotated[Kind, Form()],
    document_no: Annotated[str, Form(min_length=1, max_length=200, examples=["国科火字〔2025〕35号"])],
    category: Annotated[str | None, Form(examples=["national_high_tech"])] = None,
    issued_on: Annotated[date | None, Form()] = None,
    valid_from: Annotated[date | None, Form()] = None,
    valid_to: Annotated[date | None, Form()] = None,
    dry_run: Annotated[bool, Form()] = False,
) -> ImportShown:
    """Take in a list's file. What the form says holds for every row that does not say otherwise. The
    answer comes at once; `GET` its Location for how far the work is and what it led to."""
    today = here.clock.today()
    _form_holds(kind, category, issued_on, valid_from, valid_to, today)
    content = await file.read()
    if len(content) > LARGEST:
        raise TooLarge(
            Text("文件超过 50 MB：请分成几份上传", "The file is larger than 50 MB: split it"), rule="R-06"
        )
    row = ListImport(
        id=new_id(),
        kind=kind,
        category=category,
        document_no=document_no.strip(),
        issued_on=issued_on,
        valid_from=valid_from,
        valid_to=valid_to,
        dry_run=dry_run,
        file_name=(file.filename or "")[:200],
        sha256=hashlib.sha256(content).hexdigest(),
        state="waiting",
        uploaded_by=who.subject,
        uploaded_by_name=who.name,
        uploaded_on=today,
        uploaded_at=here.clock.now(),
    )
    session.add(row)
    await session.flush()
    await session.execute(insert(ImportFile).values(import_id=row.id, content=content))
    response.headers["Location"] = f"/v1/imports/{row.id}"

    async def ring() -> None:
        bell(here.database).set()

    request.state.after_commit = ring
    return shown(row, language_of(request))


def _form_holds(
    kind: Kind,
    category: str | None,
    issued_on: date | None,
    valid_from: date | None,
    valid_to: date | None,
    today: date,
) -> None:
    """Refuse a form that contradicts itself or the measures (R-02, R-04)."""
    if kind == "qualification":
        uphold(policy.may_be_imported(category, measures_on(today)), NotToBeImported)
    wrong: list[FieldError] = []
    if kind == "d_class" and category is not None:
        wrong.append({"pointer": "#/category", "detail": "D 类名单没有类别 / a D-class list has no category"})
    if valid_from and valid_to and valid_to < valid_from:
        wrong.append({"pointer": "#/valid_to", "detail": f"≥ {valid_from}"})
    if issued_on and issued_on > today:
        wrong.append({"pointer": "#/issued_on", "detail": f"≤ {today}"})
    if wrong:
        raise InvalidInput(Text("表单前后矛盾", "The form contradicts itself"), rule="R-06", errors=wrong)
