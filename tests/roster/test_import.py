"""Imports: dry and real, twice, broken rows, broken files, and that a killed one begins anew (R-06)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from datetime import date, time
from typing import Any

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from bench.recognition_list import HEADERS, code, rows, xlsx
from bench.recognition_list import text as csv_of
from services.roster import import_apply
from services.roster.app import SERVICE
from services.roster.list_file import open_sheet
from shared import idempotency, plumbing
from shared.events import EnterpriseListed
from shared.service import World, create_app
from tests.ground import Databases, alone, key
from tests.roster import files
from tests.roster.town import ALPHA, BETA, GAMMA, Town, done, table

COUNTS = ("added", "renewed", "unchanged", "refused", "enterprises_changed")
TABLES = dict.fromkeys(("enterprise", "qualification", "d_class_period", "list_change"), "t::text")
TABLES["outbox"] = "t.event_id::text"


async def fingerprint(town: Town) -> list[Any]:
    """Everything an import may change."""
    statement = "SELECT md5(string_agg({what}, '' ORDER BY {what})) FROM {table} AS t"
    async with town.it.running.database.reading() as session:
        return [
            (await session.execute(text(statement.format(table=table, what=what)))).scalar()
            for table, what in TABLES.items()
        ]


async def outcomes(town: Town, job: dict[str, Any]) -> list[dict[str, Any]]:
    page = await town.get(f"/v1/imports/{job['id']}/rows", limit=200)
    return page["items"]  # type: ignore[no-any-return]


def counted(job: dict[str, Any]) -> dict[str, int]:
    return {name: job[name] for name in COUNTS}


async def test_r06_a_dry_run_changes_nothing_and_the_real_one_does_what_it_showed(town: Town) -> None:
    await town.recognise(ALPHA, BETA, document_no="甲")
    await town.rate_d(GAMMA, first="2026-05-01", last="2026-06-30")
    lines = [
        (ALPHA, f"企业{ALPHA[-6:]}"),
        (BETA, "企业乙改名"),
        (GAMMA, "企业丙"),
        (code(4), "企业丁"),
        (code(4), "企业丁"),
        (ALPHA[:-1], "企业戊"),
    ]
    before = await fingerprint(town)
    form = {"document_no": "甲"}
    dry = await town.upload(table(*lines), dry_run="true", **form)
    assert await fingerprint(town) == before
    real = await town.upload(table(*lines), **form)
    assert await fingerprint(town) != before
    assert counted(dry) == counted(real)
    assert dry["sample"] == real["sample"]
    assert await outcomes(town, dry) == await outcomes(town, real)
    assert [row["outcome"] for row in await outcomes(town, real)] == [
        "unchanged", "renewed", "added", "added", "refused", "refused",
    ]  # fmt: skip
    assert await town.days(GAMMA) == [("2026-01-01", "2026-04-30"), ("2026-07-01", "2028-12-31")]


@pytest.mark.parametrize("kind", ["qualification", "d_class"])
async def test_r06_the_same_file_twice_changes_nothing_the_second_time(town: Town, kind: str) -> None:
    content = xlsx(HEADERS[kind], rows(300, kind, broken=0.1))
    form = {"kind": kind, "document_no": "甲", "valid_from": None, "valid_to": None}
    first = await town.upload(content, "a.xlsx", **form)
    before = await fingerprint(town)
    second = await town.upload(content, "a.xlsx", **form)
    assert await fingerprint(town) == before
    assert (first["unchanged"], second["added"], second["renewed"]) == (0, 0, 0)
    assert second["unchanged"] == first["added"]
    assert second["refused"] == first["refused"] > 0


async def test_r06_one_code_under_two_names_is_not_guessed(town: Town) -> None:
    headers = ("统一社会信用代码", "企业名称", "文号")
    content = table((ALPHA, "企业甲", "一"), (ALPHA, "企业乙", "二"), (BETA, "企业丙", "一"), headers=headers)
    job = await town.upload(content, document_no="总")
    (row,) = (await town.get(f"/v1/imports/{job['id']}/rows", outcome="refused"))["items"]
    problem = row["problems"][0]
    assert (row["row_number"], problem["column"], problem["rule"]) == (3, "企业名称", "R-06")
    assert "row 2" in problem["en"]
    assert (await town.get(f"/v1/enterprises/{ALPHA}"))["name"] == "企业甲"
    again = await town.upload(content, document_no="总")
    assert (again["unchanged"], again["renewed"], again["enterprises_changed"]) == (2, 0, 0)


async def test_r06_a_new_document_or_new_days_renew(town: Town) -> None:
    await town.recognise(ALPHA, document_no="甲", valid_to="2026-12-31")
    new = await town.recognise(ALPHA, document_no="乙", valid_from="2027-01-01", valid_to="2028-12-31")
    assert counted(new) == {"added": 0, "renewed": 1, "unchanged": 0, "refused": 0, "enterprises_changed": 1}
    changed = await town.recognise(ALPHA, document_no="甲", valid_to="2026-10-31")
    assert (changed["renewed"], changed["unchanged"]) == (1, 0)
    assert await town.days(ALPHA) == [("2026-01-01", "2026-10-31"), ("2027-01-01", "2028-12-31")]
    told = await town.it.announced()
    assert [(e.cause, e.from_day) for e in told] == [
        ("qualification", date(2026, 1, 1)),
        ("renewal", date(2027, 1, 1)),
        ("expiry", date(2026, 11, 1)),
    ]


async def test_r06_a_row_s_own_cells_go_before_the_form(town: Town) -> None:
    headers = ("统一社会信用代码", "企业名称", "文号", "证书编号", "发证日期", "有效期起", "有效期止")
    lines = [
        (ALPHA, "企业甲", "专〔2026〕9号", "GR1", "2025/12/1", "2025年12月1日", "20281130"),
        (BETA, "企业乙", "", "", "", "", "长期"),
    ]
    await town.upload(table(*lines, headers=headers), document_no="总")
    alpha = (await town.get(f"/v1/enterprises/{ALPHA}"))["qualifications"][0]
    assert (alpha["document_no"], alpha["certificate_no"]) == ("专〔2026〕9号", "GR1")
    assert (alpha["issued_on"], alpha["valid_from"], alpha["valid_to"]) == (
        "2025-12-01", "2025-12-01", "2028-11-30",
    )  # fmt: skip
    beta = (await town.get(f"/v1/enterprises/{BETA}"))["qualifications"][0]
    assert (beta["document_no"], beta["valid_from"], beta["valid_to"]) == ("总", "2026-01-01", None)


CODE, NAME, FIRST, LAST = "统一社会信用代码", "企业名称", "有效期起", "有效期止"
BAD_ROWS = [
    pytest.param((ALPHA[:-1] + "0", "甲"), CODE, "R-01", "check character", id="R-01 check character"),
    pytest.param((ALPHA[:17], "甲"), CODE, "R-01", "17", id="R-01 too short"),
    pytest.param(("9.1133E+17", "甲"), CODE, "R-01", "as text", id="R-01 number in a CSV"),
    pytest.param((ALPHA[:10] + "O" + ALPHA[11:], "甲"), CODE, "R-01", "O→0", id="R-01 letter O"),
    pytest.param(("", "甲"), CODE, "R-01", "missing", id="R-01 no code"),
    pytest.param((ALPHA, " "), NAME, "R-06", "missing", id="R-06 no name"),
    pytest.param((ALPHA, "甲乙", "05/01/2026", ""), FIRST, "R-02", "several ways", id="R-02 unclear day"),
    pytest.param((ALPHA, "甲乙", "24-1-5", ""), FIRST, "R-02", "several ways", id="R-02 short year"),
    pytest.param((ALPHA, "甲乙", "2026-02-30", ""), FIRST, "R-02", "no day", id="R-02 no such day"),
    pytest.param((ALPHA, "甲乙", "45292", ""), FIRST, "R-02", "date format", id="R-02 serial number"),
    pytest.param((ALPHA, "甲乙", "明年", ""), FIRST, "R-02", "not a date", id="R-02 words"),
    pytest.param((ALPHA, "甲乙", "1026-01-01", ""), FIRST, "R-02", "implausible", id="R-02 year"),
    pytest.param((ALPHA, "甲乙", "2026-01-01", "2025-01-01"), LAST, "R-02", "before", id="R-02 backwards"),
    pytest.param((ALPHA, "甲乙", "", "", "x"), LAST, "R-06", "more cells", id="R-06 more cells"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "column", "rule", "words"), BAD_ROWS)
async def test_r06_a_bad_row_is_told_with_column_and_rule_and_costs_no_other(
    town: Town, line: Sequence[str], column: str, rule: str, words: str
) -> None:
    headers = (CODE, NAME, FIRST, LAST)
    good = (BETA, "企业乙", "", "")
    padded = [*line, *[""] * (4 - len(line))]
    job = await town.upload(table(good, padded, (GAMMA, "企业丙", "", ""), headers=headers))
    assert (job["added"], job["refused"]) == (2, 1)
    (row,) = (await town.get(f"/v1/imports/{job['id']}/rows", outcome="refused"))["items"]
    assert row["row_number"] == 3
    problem = row["problems"][0]
    assert (problem["column"], problem["rule"]) == (column, rule)
    assert words in problem["en"]
    assert problem["zh"]


async def test_r06_the_refused_rows_come_as_a_file_that_is_mended_and_imported_as_it_is(town: Town) -> None:
    headers = ("序号", "统一社会信用代码", "企业名称", "备注")
    lines = [("1", ALPHA, "企业甲", ""), ("2", BETA[:-1] + "I", "企业乙", "=1+1"), ("3", "", "企业丙", "留")]
    job = await town.upload(table(*lines, headers=headers), document_no="甲")
    answer = await town.office.get(f"/v1/imports/{job['id']}/refused.xlsx", headers={"accept-language": "zh"})
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(answer.content)).get_sheet_by_index(0).to_python()
    assert sheet[0] == [*headers, "原行号", "须改正之处"]
    assert [row[:5] for row in sheet[1:]] == [
        ["2", BETA[:-1] + "I", "企业乙", "=1+1", 3.0],
        ["3", "", "企业丙", "留", 4.0],
    ]
    assert "R-01" in str(sheet[1][5])
    sheet[1][1], sheet[2][1] = BETA, GAMMA
    mended = files.workbook(*sheet[1:], headers=[str(cell) for cell in sheet[0]])
    again = await town.upload(mended, "mended.xlsx", document_no="甲")
    assert (again["added"], again["refused"]) == (2, 0)


@pytest.mark.parametrize("name", files.REFUSED)
async def test_r06_a_file_that_is_not_what_it_says_is_refused_with_what_to_do(town: Town, name: str) -> None:
    content, words = files.REFUSED[name]
    job = await town.upload(content, "list.xlsx")
    assert job["state"] == "refused", job
    assert words in job["refusal"]["detail"]
    assert job["refusal"]["rule"] == "R-06"
    assert job["added"] == 0


def formula(_book: Any, sheet: Any) -> None:
    sheet.write_formula("B2", '="企业"&"甲"', None, "企业甲")


def merged(book: Any, sheet: Any) -> None:
    sheet.merge_range("B2:B3", "企业", book.add_format())


def code_as_number(_book: Any, sheet: Any) -> None:
    sheet.write_number("A2", 911304821234567890)


@pytest.mark.parametrize(
    ("spoil", "rows", "words"),
    [
        pytest.param(formula, [2], "formula", id="R-06 formula"),
        pytest.param(merged, [2, 3], "merged", id="R-06 merged cells"),
        pytest.param(code_as_number, [2], "15 digits", id="R-01 a code stored as a number"),
    ],
)
async def test_r06_what_a_reader_of_values_does_not_see_costs_its_rows_only(
    town: Town, spoil: Callable[[Any, Any], None], rows: list[int], words: str
) -> None:
    content = files.workbook(*files.LINES, (GAMMA, "企业丙"), finish=spoil)
    job = await town.upload(content, "list.xlsx")
    refused = (await town.get(f"/v1/imports/{job['id']}/rows", outcome="refused"))["items"]
    assert [row["row_number"] for row in refused] == rows
    assert all(words in row["problems"][0]["en"] for row in refused)
    assert job["added"] == 3 - len(rows)


GOOD = {
    "titles above, a sheet of notes beside": files.workbook(title=("附件", "2026年高新技术企业名单")),
    "the second sheet": files.workbook(
        sheets=("名单",), finish=lambda book, sheet: book.add_worksheet("说明").write("A1", "填写说明")
    ),
    "merged title": files.workbook(
        title=("附件",), finish=lambda book, sheet: sheet.merge_range("A1:B1", "附件", book.add_format())
    ),
    "spaces, full width, small letters": files.workbook(
        (f"  {ALPHA.lower()} ", " 企业甲 "), ("".join(chr(ord(c) + 0xFEE0) for c in BETA), "企业乙")
    ),
    "characters nobody sees": table(
        (f"{ALPHA[:8]}\u200b{ALPHA[8:]}\ufeff", "企业\u200b甲"), (BETA, "企业乙")
    ),
    "characters no database keeps": files.workbook(
        (f"{ALPHA[:8]}\x00{ALPHA[8:]}", "企\x00业甲"), (BETA, "企业乙")
    ),
    "blank rows between": files.workbook((ALPHA, "企业甲"), ("", " "), (BETA, "企业乙"), ("", "")),
    "other words for the columns": files.workbook(headers=("社会信用代码*", "单位名称（全称）")),
    "utf-8": table(*files.LINES).removeprefix(b"\xef\xbb\xbf"),
    "utf-8 with mark": table(*files.LINES),
    "gb18030": csv_of(
        ("统一社会信用代码", "企业名称"), iter([list(line) for line in files.LINES]), "gb18030"
    ),
    "semicolons": table(*files.LINES).replace(b",", b";"),
    "tabs": table(*files.LINES).replace(b",", b"\t"),
    "unix lines": table(*files.LINES).replace(b"\r\n", b"\n"),
}


@pytest.mark.parametrize("name", GOOD)
async def test_r06_a_list_is_read_however_people_write_it(town: Town, name: str) -> None:
    job = await town.upload(GOOD[name])
    assert (job["state"], job["added"], job["refused"]) == ("done", 2, 0), job
    assert (await town.get(f"/v1/enterprises/{ALPHA}"))["name"] == "企业甲"


async def test_r02_dates_of_a_workbook_are_read_as_dates_and_as_text(town: Town) -> None:
    headers = ("统一社会信用代码", "企业名称", "有效期起", "有效期止")
    lines = [
        (ALPHA, "企业甲", date(2026, 1, 5), date(2028, 1, 4)),
        (BETA, "企业乙", 20260105, "2028.1.4"),
        (GAMMA, "企业丙", "２０２６-01-05", "2028-01-04 00:00:00"),
    ]
    job = await town.upload(files.workbook(*lines, headers=headers))
    assert job["refused"] == 0, await outcomes(town, job)
    for uscc in (ALPHA, BETA, GAMMA):
        assert await town.days(uscc) == [("2026-01-05", "2028-01-04")]


async def test_r06_times_and_durations_in_a_workbook_cost_at_most_their_row(town: Town) -> None:
    headers = ("统一社会信用代码", "企业名称", "有效期止", "受理时间", "用时")

    def times(book: Any, sheet: Any) -> None:
        for row in (1, 2):
            sheet.write_datetime(row, 3, time(8, 30), book.add_format({"num_format": "hh:mm"}))
            sheet.write_number(row, 4, 1.5, book.add_format({"num_format": "[h]:mm"}))
        sheet.write_number(2, 2, 0, book.add_format({"num_format": "yyyy-mm-dd"}))

    job = await town.upload(files.workbook(headers=headers, finish=times), "list.xlsx")
    assert (job["state"], job["added"], job["refused"]) == ("done", 1, 1)
    (row,) = (await town.get(f"/v1/imports/{job['id']}/rows", outcome="refused"))["items"]
    assert (row["row_number"], row["problems"][0]["column"]) == (3, "有效期止")
    assert "is a time" in row["problems"][0]["en"]


async def test_r04_a_d_class_row_needs_both_its_days(town: Town) -> None:
    job = await town.rate_d(ALPHA, first="2026-01-01", last="2026-12-31", valid_to=None)
    (row,) = await outcomes(town, job)
    assert (row["outcome"], row["problems"][0]["column"]) == ("refused", "执行期止")


async def test_r02_a_recognition_without_its_day_of_issue_is_refused(town: Town) -> None:
    job = await town.recognise(ALPHA, issued_on=None)
    (row,) = await outcomes(town, job)
    problem = row["problems"][0]
    assert (row["outcome"], problem["column"], problem["rule"]) == ("refused", "发证日期", "R-02")


async def test_r06_blanks_around_a_document_number_make_no_other_document(town: Town) -> None:
    await town.recognise(ALPHA, document_no="国科火字〔2026〕1号")
    again = await town.recognise(ALPHA, document_no=" 国科火字〔2026〕1号\u3000")
    assert (again["unchanged"], again["added"], again["renewed"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        pytest.param({"category": "conference_approved"}, "R-07", id="R-07 the tenth is by vote"),
        pytest.param({"category": "nonsense"}, "R-02", id="R-02 unknown category"),
        pytest.param({"category": None}, "R-02", id="R-02 no category"),
        pytest.param({"valid_to": "2025-01-01"}, "R-06", id="R-06 backwards"),
        pytest.param({"issued_on": "2027-01-01"}, "R-06", id="R-06 issued tomorrow"),
        pytest.param({"valid_to": "9999-12-31"}, "R-06", id="R-06 no end is left empty"),
        pytest.param({"valid_from": "0026-01-01"}, "R-06", id="R-06 a slip in the year"),
        pytest.param({"document_no": " "}, None, id="R-02 no document"),
    ],
)
async def test_r06_a_form_that_contradicts_itself_is_refused(
    town: Town, form: dict[str, Any], rule: str | None
) -> None:
    with pytest.raises(AssertionError, match=f'"rule":"{rule}"' if rule else "#/document_no"):
        await town.recognise(ALPHA, **form)
    assert (await town.get("/v1/imports"))["items"] == []


async def test_r06_the_template_is_a_list_the_import_reads(town: Town) -> None:
    for kind in ("qualification", "d_class"):
        answer = await town.office.get("/v1/imports/template.xlsx", params={"kind": kind})
        assert set(open_sheet(answer.content).places) >= {"uscc", "name", "valid_from", "valid_to"}


async def test_r06_only_the_office_imports_and_the_auditor_reads(town: Town) -> None:
    job = await town.recognise(ALPHA)
    assert done(await town.auditor.get(f"/v1/imports/{job['id']}"))["added"] == 1
    for who in (town.auditor, town.bank, town.alpha):
        sent = await who.post(
            "/v1/imports", data={"kind": "d_class", "document_no": "x"}, files={"file": b"x"}, headers=key()
        )
        assert sent.status_code == 403
    assert (await town.bank.get(f"/v1/imports/{job['id']}")).status_code == 403


async def test_r81_an_import_is_audited_with_its_document_and_counts(town: Town) -> None:
    job = await town.recognise(ALPHA, document_no="国科火字〔2026〕7号")
    async with town.it.running.database.reading() as session:
        query = select(plumbing.audit).where(plumbing.audit.c.refs.contains([job["id"]]))
        entries = [row.entry for row in await session.execute(query.order_by(plumbing.audit.c.id))]
    assert [entry["operation"] for entry in entries] == ["import_list", "import_list"]
    note = entries[1]["changes"][0]
    assert (note["document"], note["after"]["added"]) == ("国科火字〔2026〕7号", 1)
    assert "content" not in str(entries[0])


CUT_OFF = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle in transaction'
"""


async def test_r06_a_service_that_died_in_the_middle_leaves_nothing_and_the_next_begins_anew(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = asyncio.Event()
    whole = import_apply.keep_rows

    async def stops(*_args: object) -> None:
        stopped.set()
        await asyncio.Event().wait()

    async with alone(databases, SERVICE) as it:
        town = Town(it)
        monkeypatch.setattr(import_apply, "keep_rows", stops)
        form = {
            "kind": "qualification",
            "category": "gazelle",
            "document_no": "甲",
            "issued_on": "2026-01-01",
            "valid_from": "2026-01-01",
        }
        content = {"file": table((ALPHA, "企业甲"))}
        sent = await town.office.post("/v1/imports", data=form, files=content, headers=key())
        await asyncio.wait_for(stopped.wait(), 20)
        assert await it.announced() == []
        assert (await town.office.get(f"/v1/enterprises/{ALPHA}")).status_code == 404
        assert (await town.get(sent.headers["location"]))["state"] == "applying"
        monkeypatch.setattr(import_apply, "keep_rows", whole)
        async with it.running.database.reading() as session:
            await session.execute(text(CUT_OFF))
        world = World(it.running.settings, it.clock, it.bus, it.issuer.fetch)
        next_one = create_app(SERVICE, world)
        async with next_one.router.lifespan_context(next_one):
            job = await town.finished(sent.headers["location"])
        assert (job["state"], job["added"]) == ("done", 1)
        assert len(await it.announced(EnterpriseListed)) == 1


async def test_r06_an_import_that_fails_is_tried_again_and_not_for_ever(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = import_apply.keep_rows
    failures = [RuntimeError("once")]

    async def fails_at_first(*args: Any) -> None:
        if failures:
            raise failures.pop()
        await whole(*args)

    monkeypatch.setattr(import_apply, "keep_rows", fails_at_first)
    job = await town.recognise(ALPHA)
    assert (job["state"], job["added"]) == ("done", 1)
    failures += [RuntimeError("again and again")] * 100
    job = await town.recognise(BETA)
    assert (job["state"], job["added"]) == ("refused", 0)
    assert "again and again" in job["refusal"]["detail"]


@pytest.mark.parametrize(
    "count", [pytest.param(5_000, id="5,000"), pytest.param(100_000, id="100,000", marks=pytest.mark.large)]
)
async def test_r06_a_large_import_goes_on_while_others_are_answered(town: Town, count: int) -> None:
    await town.recognise(ALPHA)
    content = xlsx(HEADERS["qualification"], rows(count, broken=0.02))
    upload = asyncio.create_task(town.upload(content, "large.xlsx", document_no="甲"))
    answered = 0
    while not upload.done():
        assert done(await town.alpha.get(f"/v1/enterprises/{ALPHA}"))["on_list"]
        answered += 1
    job = await upload
    assert (job["rows_read"], job["added"] + job["refused"]) == (count, count)
    assert 0 < job["refused"] < count * 0.04
    assert answered > 5
    changes = {"added": 0, "renewed": 0, "enterprises_changed": 0}
    again = await town.upload(content, "large.xlsx", document_no="甲")
    assert {name: again[name] for name in changes} == changes
    assert len(await town.it.announced(EnterpriseListed)) == job["added"] + 1


async def test_r06_an_import_that_is_run_anew_takes_in_the_whole_file(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first run was lost with the connection; the file's reading had come to its end."""
    keep = idempotency.keep
    lost: list[int] = []

    def lost_once(*kept: Any) -> None:
        if not lost:
            lost.append(1)
            raise DBAPIError("", None, ConnectionResetError(), connection_invalidated=True)
        keep(*kept)

    monkeypatch.setattr(idempotency, "keep", lost_once)
    job = await town.recognise(ALPHA, BETA)
    assert (lost, job["added"]) == ([1], 2)
