"""A recognition document's list or a D-class list comes in as a file (R-06); the work is beside the service.

A dry run shows what would change and changes nothing. The file's rows that were refused can be had as a
file, to be mended and imported again as it is.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Annotated

from fastapi import Form, UploadFile
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import insert
from starlette.requests import Request
from starlette.responses import Response

from services.roster import policy
from services.roster.cells import EARLIEST, LATEST
from services.roster.import_work import bell
from services.roster.imported import ImportFile, ImportShown, Kind, ListImport, shown
from shared.clock import Day
from shared.database import new_id
from shared.measures import measures_on
from shared.problems import FieldError, InvalidInput, Refusal, TooLarge, language_of, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Here, Session, router

steps = router("imports")
LARGEST = 50 * 1024 * 1024


class ImportForm(BaseModel):
    """The upload: the file, and what holds for every row that does not say otherwise."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    file: UploadFile = Member(description="XLSX, or CSV in UTF-8 or GB18030.")
    kind: Kind
    document_no: str = Member(min_length=1, max_length=200, examples=["国科火字〔2025〕35号"])
    category: str | None = Member(default=None, examples=["national_high_tech"])
    issued_on: Day | None = None
    valid_from: Day | None = None
    valid_to: Day | None = None
    dry_run: bool = False


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
    form: Annotated[ImportForm, Form(media_type="multipart/form-data")],
    session: Session,
    who: Caller,
    here: Here,
    request: Request,
    response: Response,
) -> ImportShown:
    """Take in a list's file. What the form says holds for every row that does not say otherwise. The
    answer comes at once; `GET` its Location for how far the work is and what it led to."""
    _form_holds(form, here.clock.today())
    await form.file.seek(0)  # a command that is run anew finds it read to its end
    content = await form.file.read()
    if len(content) > LARGEST:
        raise TooLarge(
            Text("文件超过 50 MB：请分成几份上传", "The file is larger than 50 MB: split it"), rule="R-06"
        )
    row = ListImport(
        id=new_id(),
        file_name=(form.file.filename or "")[:200],
        sha256=hashlib.sha256(content).hexdigest(),
        state="waiting",
        uploaded_by=who.subject,
        uploaded_by_name=who.name,
        uploaded_on=here.clock.today(),
        uploaded_at=here.clock.now(),
        **form.model_dump(exclude={"file"}),
    )
    session.add(row)
    await session.flush()
    await session.execute(insert(ImportFile).values(import_id=row.id, content=content))
    response.headers["Location"] = f"/v1/imports/{row.id}"

    async def ring() -> None:
        bell(here.database).set()

    request.state.after_commit = ring
    return shown(row, language_of(request))


def _form_holds(form: ImportForm, today: date) -> None:
    """Refuse a form that contradicts itself or the measures (R-02, R-04)."""
    if form.kind == "qualification":
        uphold(policy.may_be_imported(form.category, measures_on(today)), NotToBeImported)
    wrong: list[FieldError] = []
    if form.kind == "d_class" and form.category is not None:
        none = Text("D 类名单没有类别", "a D-class list has no category")
        wrong.append({"pointer": "#/category", "detail": none})
    for name in ("issued_on", "valid_from", "valid_to"):
        day = getattr(form, name)
        if day is not None and not EARLIEST <= day <= LATEST:
            ends = "；长期有效请留空 / leave it empty for no end" if name == "valid_to" else ""
            wrong.append({"pointer": f"#/{name}", "detail": f"{EARLIEST} – {LATEST}{ends}"})
    if form.valid_from and form.valid_to and form.valid_to < form.valid_from:
        wrong.append({"pointer": "#/valid_to", "detail": f"≥ {form.valid_from}"})
    if form.issued_on and form.issued_on > today:
        wrong.append({"pointer": "#/issued_on", "detail": f"≤ {today}"})
    if wrong:
        raise InvalidInput(Text("表单前后矛盾", "The form contradicts itself"), rule="R-06", errors=wrong)
