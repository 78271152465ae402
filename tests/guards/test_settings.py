"""docs/settings.md tells every setting an operator may set, with its default, and nothing else."""

from __future__ import annotations

import re

import pytest

from shared.measures.weave import ROOT
from shared.settings import Settings
from tests.guards.source import name_of, tree_files

PAGE = ROOT / "docs" / "settings.md"
ROW = re.compile(r"^\| `(KECHUANG_[A-Z_]+)` \| ([^|]*?) \| ([^|]+?) \|$", re.MULTILINE)
NAMED = re.compile(r"\bKECHUANG_[A-Z]+(?:_[A-Z]+)*\b(?!_)")
ROWS = {name: (default, words) for name, default, words in ROW.findall(PAGE.read_text("utf-8"))}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_told_with_its_default(name: str) -> None:
    variable = f"KECHUANG_{name.upper()}"
    assert variable in ROWS, f"{variable} is not in {name_of(PAGE)}"
    default = Settings.model_fields[name].default
    assert ROWS[variable][0].strip("`") == shown(default)


def shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default) or "(empty)"


def test_every_variable_named_anywhere_is_told() -> None:
    named: dict[str, str] = {}
    for file in tree_files():
        if file.suffix in (".py", ".yml", ".yaml", ".sh", ".toml", ".md", "") and file != PAGE:
            for variable in NAMED.findall(file.read_text("utf-8")):
                named.setdefault(variable, name_of(file))
    told = set(NAMED.findall(PAGE.read_text("utf-8")))
    assert {variable: file for variable, file in named.items() if variable not in told} == {}


def test_nothing_is_told_that_nobody_reads() -> None:
    code = "\n".join(
        file.read_text("utf-8") for file in tree_files() if file.suffix != ".md" and _is_text(file.suffix)
    )
    fields = {f"KECHUANG_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in ROWS if name not in fields and name not in code} == set()


def _is_text(suffix: str) -> bool:
    return suffix in (".py", ".yml", ".yaml", ".sh", ".toml", "")
