"""The workbooks roster hands out: refused rows to mend and import again, and the template (R-06)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import xlsxwriter

from services.roster.cells import BETWEEN_CELLS
from services.roster.imported import Kind
from services.roster.list_columns import D_CLASS_HEADINGS, NAMES
from shared.rules import Language

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ADDED: dict[Language, tuple[str, str]] = {
    "zh": ("原行号", "须改正之处"),
    "en": ("original row", "what to mend"),
}
TEMPLATE = {
    "qualification": ("uscc", "name", "document_no", "certificate_no", "issued_on", "valid_from", "valid_to"),
    "d_class": ("uscc", "name", "document_no", "valid_from", "valid_to"),
}
Problems = Sequence[dict[str, str]]


def refused_rows(
    headers: Sequence[str], rows: Iterable[tuple[int, str, Problems]], language: Language
) -> bytes:
    """The refused rows (number, original cells, problems) under their own headings, every cell as text so
    that codes stay codes; what to mend stands behind them and is passed over by a new import."""
    kept = io.BytesIO()
    with xlsxwriter.Workbook(kept, {"constant_memory": True}) as book:
        sheet = book.add_worksheet("名单")
        as_text = book.add_format({"num_format": "@"})
        sheet.set_column(0, len(headers), 22, as_text)
        sheet.set_column(len(headers), len(headers) + 1, 64)
        for place, name in enumerate((*headers, *ADDED[language])):
            sheet.write_string(0, place, name, book.add_format({"bold": True}))
        for line, (number, cells, problems) in enumerate(rows, 1):
            for place, cell in enumerate(cells.split(BETWEEN_CELLS)[: len(headers)]):
                sheet.write_string(line, place, cell, as_text)
            sheet.write_number(line, len(headers), number)
            sheet.write_string(line, len(headers) + 1, said(problems, language))
    return kept.getvalue()


def said(problems: Problems, language: Language) -> str:
    """A row's faults in words: column, what is wrong, rule."""
    return "; ".join(f"{one['column']}: {one[language]} ({one['rule']})" for one in problems)


def template(kind: Kind) -> bytes:
    """An empty list with the headings the import knows, its cells formatted as text."""
    kept = io.BytesIO()
    with xlsxwriter.Workbook(kept) as book:
        sheet = book.add_worksheet("名单")
        sheet.set_column(0, len(TEMPLATE[kind]), 24, book.add_format({"num_format": "@"}))
        for place, field in enumerate(TEMPLATE[kind]):
            name = D_CLASS_HEADINGS.get(field) if kind == "d_class" else None
            sheet.write_string(0, place, name or NAMES[field][0], book.add_format({"bold": True}))
    return kept.getvalue()
