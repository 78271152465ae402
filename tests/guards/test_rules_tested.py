"""Every rule of the rule book has a test that names it: in the test's name (`test_r43_…`), in its docstring,
or in the id of one of its rows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.measures.weave import ROOT, rules
from tests.guards.source import FUNCTIONS, name_of, python

RULES = rules((ROOT / "docs" / "rules.md").read_text("utf-8"))
IN_NAME = re.compile(r"(?<=_)r(\d\d)(?=_)")
IN_TEXT = re.compile(r"\bR-(\d\d)\b")


def rules_named(tree: ast.Module) -> Iterator[str]:
    """The rules that tests of this file name. A module's docstring alone tests nothing."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS) and node.name.startswith("test_"):
            yield from (f"R-{number}" for number in IN_NAME.findall(node.name))
            yield from (f"R-{number}" for number in IN_TEXT.findall(ast.get_docstring(node) or ""))
            for decorator in node.decorator_list:
                yield from _rules_of_text(decorator)
        elif isinstance(node, ast.keyword) and node.arg in ("id", "ids"):
            yield from _rules_of_text(node.value)


def _rules_of_text(part: ast.AST) -> Iterator[str]:
    for node in ast.walk(part):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (f"R-{number}" for number in IN_TEXT.findall(node.value))


def naming_tests() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for file in python("tests"):
        if file.name.startswith("test_") and file.parent.name != "guards":
            for rule in rules_named(ast.parse(file.read_text("utf-8"))):
                found.setdefault(rule, set()).add(name_of(file))
    return found


TESTED = naming_tests()
NOT_BUILT_YET = {
    "R-12": "the yearly cancellation that starts the refusal is not said yet",
    "R-46": "the printed application form",
    "R-70": "the yearly assessment",
    "R-71": "the yearly assessment",
    "R-80": "the to-do lists",
    "R-82": "the notices",
    "R-83": "the second person",
    "R-84": "the figures",
    "R-85": "the opening import",
}
"""Rules of the book whose room is not built: a rule leaves this list with its first code."""
BUILT = [rule.id for rule in RULES if rule.id not in NOT_BUILT_YET]


@pytest.mark.parametrize("rule", BUILT)
def test_a_rule_has_a_test_that_names_it(rule: str) -> None:
    assert TESTED.get(rule), f"{rule} is named by no test: test_{rule.replace('-', '').lower()}_…"


@pytest.mark.parametrize("rule", BUILT)
def test_a_rule_is_carried_by_code_that_cites_it(rule: str) -> None:
    carrying = [file for file in python("services", "shared") if rule in file.read_text("utf-8")]
    assert carrying, f"no file of services/ or shared/ cites {rule}"


def test_the_guard_reads_names_docstrings_and_ids_and_nothing_else(tmp_path: Path) -> None:
    tree = ast.parse(
        '"""R-01"""\n'
        "import pytest\n"
        "def test_r02_and_r03_hold(): ...\n"
        'def test_more():\n    """The cap (R-04)."""\n    assert "R-05"\n'
        'ROWS = [pytest.param(1, id="R-06 below")]\n'
        '@pytest.mark.parametrize("x", [1], ids=["R-07"])\ndef test_rows(x): ...\n'
        'def helper():\n    """R-08"""\n'
    )
    assert sorted(rules_named(tree)) == ["R-02", "R-03", "R-04", "R-06", "R-07", "R-07"]
