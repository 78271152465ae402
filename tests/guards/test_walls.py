"""The walls between modules stand, name what exists, and can fail: the contracts of [tool.importlinter].

The linter passes over a pattern that matches nothing and knows nothing of a service it was not told of, so
the names in the contracts are checked here against the tree.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.measures.weave import ROOT
from tests.guards.source import CITY, SERVICES

LINTER: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
CONTRACTS: dict[str, dict[str, Any]] = {contract["id"]: contract for contract in LINTER["contracts"]}
NAMING = ("modules", "source_modules", "forbidden_modules", "protected_modules", "allowed_importers")
RUN = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def modules_named() -> Iterator[tuple[str, str]]:
    """(contract, module) of every module of ours that a contract names."""
    for name, contract in CONTRACTS.items():
        for key in (
            "modules",
            "source_modules",
            "forbidden_modules",
            "protected_modules",
            "allowed_importers",
        ):
            yield from ((name, module) for module in contract.get(key, ()))
        for pair in contract.get("ignore_imports", ()):
            yield from ((name, module.strip()) for module in pair.split("->"))
        for container in contract.get("containers", ()):
            for layer in contract["layers"]:
                yield from ((name, f"{container}.{module.strip()}") for module in re.split(r"[|:]", layer))


def exists(module: str) -> bool:
    place = ROOT.joinpath(*module.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def test_every_module_a_contract_names_exists() -> None:
    ours = [
        (name, module) for name, module in modules_named() if module.split(".")[0] in LINTER["root_packages"]
    ]
    assert len(ours) > 50
    assert [pair for pair in ours if not exists(pair[1])] == []


def test_no_contract_rests_on_a_pattern() -> None:
    assert [pair for pair in modules_named() if "*" in pair[1] or "(" in pair[1]] == []


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_stands_behind_every_wall(name: str) -> None:
    whole = f"services.{name}"
    assert whole in CONTRACTS["independence"]["modules"]
    assert whole in CONTRACTS["http"]["source_modules"] or name == "gateway"
    assert CONTRACTS[name]["containers"] == [whole]
    assert CONTRACTS[name]["exhaustive"] is True, "a file without a place on the map fails the build"


def test_every_file_of_rules_is_held_pure() -> None:
    rules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for pattern in ("policy.py", "schedule.py")
        for file in (ROOT / "services").rglob(pattern)
    }
    assert rules <= set(CONTRACTS["pure"]["source_modules"])


def test_the_walls_stand() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_wall_falls_when_it_is_broken(tmp_path: Path) -> None:
    only_code = shutil.ignore_patterns("__pycache__", "*.html", "*.js", "*.css")
    for folder in ("services", "shared"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=only_code)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    breaches = {
        "services/lending/policy.py": "import fastapi",
        "services/lending/loan.py": "import httpx",
        "services/lending/app.py": "import shared.kafka_bus",
        "services/gateway/keys.py": "import services.lending.loan",
        "shared/money.py": "import services.gateway.keys",
        "shared/stray.py": "",
        **{f"services/{name}/stray.py": "" for name in CITY if name in CONTRACTS},
    }
    for file, line in breaches.items():
        place = tmp_path / file
        place.write_text((place.read_text("utf-8") if place.exists() else "") + f"\n{line}\n", "utf-8")
    result = lint(tmp_path)
    assert result.returncode == 1
    assert f"0 kept, {len(CONTRACTS)} broken" in result.stdout, result.stdout
