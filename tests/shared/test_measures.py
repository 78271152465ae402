"""The measures as data: the figures in force, their words in the law, and files that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from datetime import date
from pathlib import Path

import pytest

from shared.measures import (
    FILE,
    Book,
    MeasuresBroken,
    MeasuresNotInForce,
    Shares,
    book,
    first_day,
    load,
    measures_on,
)

TEXT = FILE.read_text("utf-8")
LAW = FILE.with_suffix(".zh.md").read_text("utf-8")
TODAY = date(2026, 11, 24)


@pytest.fixture
def reread() -> Iterator[None]:
    """The installation's measures are read anew inside the test and after it."""
    for remembered in (book, measures_on):
        remembered.cache_clear()
    yield
    for remembered in (book, measures_on):
        remembered.cache_clear()


def changed(folder: Path, old: str, new: str) -> Path:
    """A copy of the file with one thing changed."""
    assert TEXT.count(old) == 1, f"{old!r} stands {TEXT.count(old)} times"
    path = folder / "changed.toml"
    path.write_text(TEXT.replace(old, new), "utf-8")
    return path


def with_next(folder: Path, name: str, line: str) -> Book:
    """The measures with one more dated value of one figure."""
    start = TEXT.index(f"[{name}]")
    end = TEXT.find("\n[", start)
    figure = TEXT[start : end if end > 0 else len(TEXT)]
    mended = figure.rstrip()
    assert mended.endswith("]")
    return load(changed(folder, figure.rstrip(), f"{mended[:-1].rstrip().rstrip(',')}, {line}]"))


def test_the_figures_in_force_are_those_of_the_law() -> None:
    measures = measures_on(TODAY)
    assert measures.version == "2022-06-26"
    assert measures.enterprise_ceiling_fen == 1_000_000_000
    assert measures.rate_cap_bp == 90
    assert measures.market_priced == {"credit", "ip_pledge"}
    assert measures.ordinary_term_months == 12
    assert measures.approval_lapse_days == 90
    assert measures.report_working_days == 5
    assert measures.claim_after_days == 90
    assert measures.institution_year_cap_fen == 1_000_000_000
    assert measures.payout_days == 60
    assert measures.project_bar_years == 3
    assert measures.refusal_years == 2
    assert (measures.default_day_count, measures.day_counts) == (360, (360, 365))
    assert measures.evidence_bytes == 20 * 2**20


def test_r42_a_guarantee_is_shared_four_four_two_and_the_rest_six_four() -> None:
    measures = measures_on(TODAY)
    assert measures.shares_for("guarantee") == Shares(fund=40, guarantor=40, institution=20)
    for security in ("credit", "pledge", "ip_pledge", "mortgage"):
        assert measures.shares_for(security) == Shares(fund=60, guarantor=0, institution=40)
    with pytest.raises(KeyError):
        measures.shares_for("promise")


def test_r02_ten_categories_of_which_nine_rest_on_a_document() -> None:
    categories = measures_on(TODAY).categories
    assert [category.code for category in categories] == [
        "national_high_tech",
        "provincial_tech_sme",
        "leading_talent",
        "ip_demonstration",
        "little_giant",
        "provincial_specialised",
        "single_champion",
        "hidden_champion",
        "gazelle",
        "conference_approved",
    ]
    assert [category.by_document for category in categories] == [True] * 9 + [False]
    for number, category in enumerate(categories, 1):
        assert f"{number}.{category.zh}" in LAW


def test_r07_the_conference_has_seven_units() -> None:
    units = measures_on(TODAY).units
    assert [unit.code for unit in units] == ["kjj", "jxj", "czj", "scjgj", "rcb", "jrfzzx", "rmyh"]
    assert "、".join(unit.zh for unit in units) in LAW


def test_every_figure_quotes_the_law_word_for_word() -> None:
    for name, citation in book().citations.items():
        assert citation.text in LAW, name


def test_r25_nothing_before_the_first_day_is_governed() -> None:
    assert first_day() == date(2022, 6, 26)
    assert measures_on(first_day()).version == "2022-06-26"
    with pytest.raises(MeasuresNotInForce, match="no measures in force on 2022-06-25"):
        measures_on(date(2022, 6, 25))


def test_the_figures_cannot_be_changed_in_passing() -> None:
    measures = measures_on(TODAY)
    with pytest.raises(FrozenInstanceError):
        measures.rate_cap_bp = 100  # type: ignore[misc]
    with pytest.raises(TypeError):
        measures.shares["credit"] = Shares(100, 0, 0)  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "line", "attribute", "value"),
    [
        ("enterprise_ceiling", '"20000000.00"', "enterprise_ceiling_fen", 2_000_000_000),
        ("rate_cap", "50", "rate_cap_bp", 50),
        ("market_priced", '["credit"]', "market_priced", {"credit"}),
        ("ordinary_term", "36", "ordinary_term_months", 36),
        ("approval_lapse", "30", "approval_lapse_days", 30),
        ("report_deadline", "3", "report_working_days", 3),
        ("claim_wait", "60", "claim_after_days", 60),
        ("institution_year_cap", '"5000000.00"', "institution_year_cap_fen", 500_000_000),
        ("payout_deadline", "30", "payout_days", 30),
        ("project_bar", "5", "project_bar_years", 5),
        ("admission_refusal", "1", "refusal_years", 1),
        ("day_count", "[365]", "day_counts", (365,)),
        ("evidence_size", "1024", "evidence_bytes", 1024),
    ],
)
def test_any_single_figure_may_change_from_a_day_on(
    tmp_path: Path, name: str, line: str, attribute: str, value: object
) -> None:
    versions = with_next(tmp_path, name, f"{{ from = 2027-01-01, value = {line} }}")
    before, after = versions.on(date(2026, 12, 31)), versions.on(date(2027, 1, 1))
    assert (before.version, after.version) == ("2022-06-26", "2027-01-01")
    assert before == measures_on(TODAY)
    assert getattr(after, attribute) == value != getattr(before, attribute)
    same = set(type(after).__slots__) - {attribute, "version", "default_day_count"}
    assert all(getattr(after, other) == getattr(before, other) for other in same)


def test_the_shares_and_the_units_may_change_from_a_day_on(tmp_path: Path) -> None:
    shares = "guarantee = [50, 30, 20], credit = [70, 0, 30], pledge = [60, 0, 40], ip_pledge = [70, 0, 30]"
    line = f"{{ from = 2027-01-01, value = {{ {shares}, mortgage = [60, 0, 40] }} }}"
    assert with_next(tmp_path, "shares", line).on(date(2027, 1, 1)).shares_for("credit") == Shares(70, 0, 30)
    line = '{ from = 2027-01-01, value = [{ code = "kjj", zh = "科技局", en = "Science" }] }'
    assert len(with_next(tmp_path, "units", line).on(date(2027, 1, 1)).units) == 1


@pytest.mark.usefixtures("reread")
def test_another_citys_file_is_chosen_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "KECHUANG_MEASURES", str(changed(tmp_path, "value = 90 }]\n\n[market", "value = 40 }]\n\n[market"))
    )
    assert measures_on(TODAY).rate_cap_bp == 40


@pytest.mark.usefixtures("reread")
def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KECHUANG_MEASURES", str(tmp_path / "nowhere.toml"))
    with pytest.raises(MeasuresBroken, match=r"nowhere\.toml"):
        measures_on(TODAY)


WORDS = 'text = "单个企业科创贷款额最高不超过1000万元。"\n'
FAULTS = {
    "not TOML": ("scheme = ", "scheme ", "changed.toml"),
    "no title": ('title = "平湖市科创企业贷款支持实施办法"\n', "", "title"),
    "figure missing": ("[payout_deadline]", "[payout]", "unknown figure payout"),
    "unknown figure": ('scheme = "pinghu"', 'schema = "pinghu"', "unknown figure schema"),
    "unknown unit": (
        'unit = "basis_points"',
        'unit = "percent"',
        r"\[rate_cap\] unit must be 'basis_points'",
    ),
    "unit missing": ('unit = "months"\n', "", r"\[ordinary_term\] unit must be 'months', not None"),
    "article missing": ('article = "M-四(二)"\n', "", r"\[enterprise_ceiling\] needs article"),
    "article strange": ('"M-四(二)"', '"article 4"', "article must look like"),
    "words missing": (WORDS, "", r"\[enterprise_ceiling\] needs text"),
    "member strange": (WORDS, WORDS + 'note = "x"\n', "has no place for note"),
    "reading empty": (WORDS, WORDS + 'reading = " "\n', "needs reading"),
    "no values": (
        'values = [{ from = 2022-06-26, value = "10000000.00" }]\n\n[rate',
        "[rate",
        "has no values",
    ),
    "values empty": (
        '[{ from = 2022-06-26, value = "10000000.00" }]\n\n[rate',
        "[]\n\n[rate",
        "has no values",
    ),
    "value without day": ("{ from = 2022-06-26, value = 12 }", "{ value = 12 }", "needs `from`"),
    "value from an instant": (
        "{ from = 2022-06-26, value = 12 }",
        "{ from = 2022-06-26T00:00:00, value = 12 }",
        "needs `from`",
    ),
    "gap": (
        "{ from = 2022-06-26, value = 12 }",
        "{ from = 2022-07-01, value = 12 }",
        r"\[ordinary_term\] has no value on 2022-06-26",
    ),
    "one day twice": (
        "[{ from = 2022-06-26, value = 12 }]",
        "[{ from = 2022-06-26, value = 12 }, { from = 2022-06-26, value = 24 }]",
        "order of their days",
    ),
    "days backwards": (
        "[{ from = 2022-06-26, value = 12 }]",
        "[{ from = 2023-06-26, value = 24 }, { from = 2022-06-26, value = 12 }]",
        "order of their days",
    ),
    "number as words": ("value = 12 }", 'value = "12" }', "whole number"),
    "number zero": ("value = 12 }", "value = 0 }", "whole number"),
    "number broken": ("value = 12 }", "value = 12.5 }", "whole number"),
    "money as number": (
        'value = "10000000.00" }]\n\n[rate',
        "value = 10000000.00 }]\n\n[rate",
        "amount above zero",
    ),
    "money of zero": ('value = "10000000.00" }]\n\n[rate', 'value = "0.00" }]\n\n[rate', "amount above zero"),
    "security strange": ('["credit", "ip_pledge"]', '["credit", "promise"]', "market_priced"),
    "shares of 101": ("[40, 40, 20]", "[40, 41, 20]", "adds up to 101"),
    "share negative": ("[40, 40, 20]", "[-40, 120, 20]", "whole percent"),
    "share missing": (", mortgage = [60, 0, 40]", "", r"\[shares\] needs each of"),
    "guarantor without a guarantee": ("mortgage = [60, 0, 40]", "mortgage = [50, 10, 40]", "no guarantor"),
    "day counts empty": ("[360, 365]", "[]", "list that is not empty"),
    "category strange": (", by_document = false }", " }", r"\[categories\] each needs"),
    "no category by vote": ("by_document = false", "by_document = true", "exactly one"),
    "unit twice": ('code = "jxj"', 'code = "kjj"', "a code is there twice"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_with_a_fault_is_refused_with_what_to_mend(tmp_path: Path, fault: str) -> None:
    old, new, told = FAULTS[fault]
    with pytest.raises(MeasuresBroken, match=told):
        load(changed(tmp_path, old, new))
