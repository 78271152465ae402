"""The law, the measures file, the rule book and docs/measures.md say the same thing.

When the page is behind its sources: `python -m shared.measures.weave`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from shared.measures import FILE, Book, load
from shared.measures.weave import (
    ARTICLE,
    PAGE,
    ROOT,
    Clause,
    citations,
    clauses,
    main,
    preamble,
    rules,
    weave,
)

LAW = FILE.with_suffix(".zh.md").read_text("utf-8")
RULE_BOOK = (ROOT / "docs" / "rules.md").read_text("utf-8")
CLAUSES = {clause.article: clause for clause in clauses(LAW)}
RULES = rules(RULE_BOOK)
FIGURE = re.compile(r"\*\*([\d,.]+)[^*]*\*\*[^*()`]*\(`(\w+)`\)")


@pytest.fixture(scope="module")
def figures() -> Book:
    return load(FILE)


def test_the_page_is_what_its_sources_say_now() -> None:
    assert PAGE.read_text("utf-8") == weave(), "run: python -m shared.measures.weave"
    assert main(["--check"]) == 0


def test_every_clause_of_the_law_is_on_the_page() -> None:
    assert " ".join(CLAUSES) == (
        "M-一 M-二(一) M-二(二) M-三(一) M-三(二) M-四(一) M-四(二) "
        "M-五 M-五(一) M-五(二) M-五(三) M-六 M-七(一) M-七(二) M-八 M-九"
    )
    told = [preamble(LAW), *(line for clause in CLAUSES.values() for line in clause.paragraphs)]
    law = [line for line in LAW.splitlines() if line and not line.startswith("#")]
    assert told == law
    page = PAGE.read_text("utf-8")
    assert all(f"> {line}\n" in page for line in law)


def test_every_figure_is_quoted_from_the_clause_it_cites(figures: Book) -> None:
    for name, citation in figures.citations.items():
        assert citation.text in "\n".join(CLAUSES[citation.article].paragraphs), name


def test_every_rule_names_its_articles_and_stands_once_in_order() -> None:
    ids = [rule.id for rule in RULES]
    assert re.findall(r"^### (R-\d\d) ", RULE_BOOK, re.MULTILINE) == ids
    assert ids == sorted(set(ids))
    assert (ids[0], ids[-1]) == ("R-01", "R-85")
    for rule in RULES:
        assert set(rule.articles) <= CLAUSES.keys(), rule.id


def test_every_clause_that_asks_something_has_a_rule() -> None:
    answered = {article for rule in RULES for article in rule.articles}
    assert CLAUSES.keys() - answered == {"M-五"}


def test_every_rule_id_cited_anywhere_stands_in_the_rule_book() -> None:
    known = {rule.id for rule in RULES}
    cited = citations((ROOT / "services", ROOT / "shared", ROOT / "tests", ROOT / "bench"))
    assert {rule: files for rule, files in cited.items() if rule not in known} == {}
    assert set(re.findall(r"R-\d\d", RULE_BOOK)) <= known


def test_every_article_cited_in_code_is_a_clause_of_the_law() -> None:
    for folder in ("services", "shared"):
        for file in (ROOT / folder).rglob("*.py"):
            for article in ARTICLE.findall(file.read_text("utf-8")):
                assert article in CLAUSES or article in {a.split("(")[0] for a in CLAUSES}, (file, article)


def test_the_figures_written_in_the_rule_book_are_those_of_the_measures_file(figures: Book) -> None:
    written = {name: Decimal(number.replace(",", "")) for number, name in FIGURE.findall(RULE_BOOK)}
    for name in ("rate_cap", "ordinary_term", "approval_lapse", "report_deadline", "claim_wait"):
        assert written.pop(name) == figures.values[name][0][1], name
    for name in ("payout_deadline", "project_bar", "admission_refusal"):
        assert written.pop(name) == figures.values[name][0][1], name
    for name in ("enterprise_ceiling", "institution_year_cap"):
        assert written.pop(name) == Decimal(figures.values[name][0][1]), name
    assert written.pop("evidence_size") * 2**20 == figures.values["evidence_size"][0][1]
    assert written.pop("day_count") == figures.values["day_count"][0][1][-1]
    assert written == {}


def test_the_rule_book_names_every_figure(figures: Book) -> None:
    assert [name for name in figures.values if f"`{name}`" not in RULE_BOOK] == []


def test_clauses_keep_what_stands_before_the_first_sub_clause() -> None:
    law = "# 题\n\n前言。\n\n## 一、甲\n\n总则。\n\n（一）子。\n\n1.项；\n\n## 二、乙\n\n文。\n\n又文。\n"
    assert preamble(law) == "前言。"
    assert clauses(law) == [
        Clause("M-一", "一、甲", ("总则。",)),
        Clause("M-一(一)", None, ("（一）子。", "1.项；")),
        Clause("M-二", "二、乙", ("文。", "又文。")),
    ]


def test_a_rule_is_found_where_it_is_cited(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "lending"
    folder.mkdir(parents=True)
    (folder / "test_filing.py").write_text("def test_r25_a_filing_is_kept() -> None: ...\n", "utf-8")
    (folder / "test_cap.py").write_text('"""The cap (R-22), as R-25 applies it; not R-251."""\n', "utf-8")
    assert citations((tmp_path / "tests",), "test_*.py", tmp_path) == {
        "R-22": ["tests/lending/test_cap.py"],
        "R-25": ["tests/lending/test_cap.py", "tests/lending/test_filing.py"],
    }
