"""What the system says to people: both languages everywhere, and every rule with an article it rests on."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.measures import FILE
from shared.measures.weave import ROOT, clauses, rules
from shared.problems import Refusal
from tests.guards.source import calls, name_of, python

HAN = re.compile(r"[\u4e00-\u9fff]")
RULES = {rule.id: set(rule.articles) for rule in rules((ROOT / "docs" / "rules.md").read_text("utf-8"))}
ARTICLES = {clause.article for clause in clauses(FILE.with_suffix(".zh.md").read_text("utf-8"))}
BILINGUAL = {"Text": (0, 1), "refuse": (2, 3)}
"""What takes a sentence in both languages, and where: Chinese, then English."""


def words_of(part: ast.expr) -> str | None:
    """The fixed words of a string, an f-string, or strings put together; None for anything else."""
    if isinstance(part, ast.Constant) and isinstance(part.value, str):
        return part.value
    if isinstance(part, ast.JoinedStr):
        return "".join(words_of(value) or "" for value in part.values)
    if isinstance(part, ast.BinOp):
        left, right = words_of(part.left), words_of(part.right)
        return None if left is None or right is None else left + right
    return None


def one_language(tree: ast.AST) -> Iterator[str]:
    """Sentences whose Chinese has no Chinese, or whose English has any outside of its quotation marks."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name not in BILINGUAL or len(call.args) <= max(BILINGUAL[name]):
            continue
        chinese, english = (words_of(call.args[place]) for place in BILINGUAL[name])
        if chinese is not None and not HAN.search(chinese):
            yield f"line {call.lineno}: {chinese!r} is not Chinese"
        if english is not None and HAN.search(re.sub(r"[(（“\"][^)）”\"]*[)）”\"]", "", english)):
            yield f"line {call.lineno}: {english!r} is not English"
        if english is not None and not english.strip():
            yield f"line {call.lineno}: nothing is said in English"


@pytest.mark.parametrize("file", python("services", "shared"), ids=name_of)
def test_what_people_read_is_said_in_both_languages(file: Path) -> None:
    assert list(one_language(ast.parse(file.read_text("utf-8")))) == []


def rests_on(rule: str, article: str) -> str | None:
    """What is wrong with a rule and the article cited with it; None when nothing is."""
    if rule not in RULES:
        return f"{rule} is no rule"
    if article and article not in RULES[rule]:
        return f"{rule} does not rest on {article} but on {', '.join(sorted(RULES[rule])) or 'no article'}"
    return None


@pytest.mark.parametrize("file", python("services", "shared"), ids=name_of)
def test_a_verdict_cites_a_rule_and_one_of_its_articles(file: Path) -> None:
    wrong = []
    for name, call in calls(file):
        if name in ("refuse", "allow", "rules.refuse", "rules.allow") and call.args:
            cited = [words_of(argument) for argument in call.args[:2]]
            if cited[0] is not None and (fault := rests_on(cited[0], (cited[1:] or [""])[0] or "")):
                wrong.append(f"line {call.lineno}: {fault}")
    assert wrong == []


def every_refusal() -> list[type[Refusal]]:
    """All refusals of the composed services and the shared ground."""
    for file in python("services"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if "migrations" not in file.parts and file.parent.parent.name == "services":
            importlib.import_module(module)
    found, waiting = [], [Refusal]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if kind is not Refusal and kind.__module__.split(".")[0] in ("services", "shared"):
            found.append(kind)
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


def test_every_refusal_says_what_it_is_and_rests_on_its_rule() -> None:
    wrong = []
    for kind in every_refusal():
        where = f"{kind.__module__}.{kind.__name__}"
        if kind.title is Refusal.title:
            wrong.append(f"{where} has no title")
        if not (400 <= kind.status < 500 or kind.status in (500, 503, 504)):
            wrong.append(f"{where}: {kind.status}")
        if kind.rule and (fault := rests_on(kind.rule, kind.article or "")):
            wrong.append(f"{where}: {fault}")
        if kind.article and kind.article not in ARTICLES:
            wrong.append(f"{where}: {kind.article} is no article")
    assert wrong == []


def test_refusals_of_one_name_mean_one_thing() -> None:
    meanings: dict[str, set[tuple[int, str]]] = {}
    for kind in every_refusal():
        meanings.setdefault(kind.slug(), set()).add((kind.status, kind.title.en))
    assert {slug: said for slug, said in meanings.items() if len(said) > 1} == {}


def test_the_guard_sees_a_sentence_in_one_language() -> None:
    said = (
        'Text("未找到", "Not found"); Text("no", "no"); Text("未", "未"); Text(x, y); '
        'Text("未", f"{a} (担保)")'
    )
    assert list(one_language(ast.parse(said))) == [
        "line 1: 'no' is not Chinese",
        "line 1: '未' is not English",
    ]
    assert rests_on("R-99", "") == "R-99 is no rule"
    assert rests_on("R-22", "M-八") == "R-22 does not rest on M-八 but on M-三(二)"


# ── decisions ────────────────────────────────────────────────────────────────────────────────────

DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


def test_there_are_at_most_thirteen_decisions() -> None:
    assert 1 <= len(DECISIONS) <= 13
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_a_decision_is_a_page_with_its_reasons_and_its_end(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text.startswith(f"# {int(page.name[:4])}. ")
    assert re.search(r"^> \S", text, re.MULTILINE), "one line to quote"
    for part in ("**Context.**", "**Decision.**", "**Look again when**"):
        assert part in text or (part == "**Decision.**" and "**Rules.**" in text)
    assert "**Rejected.**" in text or "instead of" in text
    assert len(text.splitlines()) <= 60, "a page"
