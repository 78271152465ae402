"""What guards look at: the tree's files, their syntax trees, and each service as data."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from shared.clock import SystemClock
from shared.measures.weave import ROOT
from shared.postgres_bus import PostgresBus
from shared.service import Service, World, create_app
from shared.settings import Settings

CITY = ("roster", "lending", "compensation", "gateway")
SERVICES = tuple(name for name in CITY if (ROOT / "services" / name / "app.py").exists())
"""The services that are composed; that these are the whole city is a guard of its own."""
UNTRACKED = {"__pycache__", "node_modules", "target", "data", "dist", "test-results", "playwright-report"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree_files() -> Iterator[Path]:
    """Every file of the checkout that is kept in it, binary ones included."""
    yield from _files(ROOT)


def _files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        hidden = entry.name.startswith(".") and entry.name not in {".ci", ".gitignore", ".dockerignore"}
        if hidden or entry.name in UNTRACKED:
            continue
        if entry.is_dir():
            yield from _files(entry)
        elif entry.suffix != ".pyc":
            yield entry


def python(*folders: str) -> list[Path]:
    """The Python files of these folders, migrations included."""
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), str(file))


def functions(file: Path) -> list[Function]:
    return [node for node in ast.walk(parsed(file)) if isinstance(node, FUNCTIONS)]


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute; '' of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return ""


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted name of what is called."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def constants(file: Path) -> Iterator[ast.Constant]:
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Constant):
            yield node


@cache
def service(name: str) -> Service:
    """A service as it is composed; the guard fails with its error when it cannot be imported."""
    found = importlib.import_module(f"services.{name}.app").SERVICE
    assert isinstance(found, Service)
    return found


@cache
def document(name: str) -> dict[str, Any]:
    """A service's OpenAPI document, without database or bus."""

    async def no_keys() -> dict[str, Any]:
        return {"keys": []}

    return create_app(service(name), World(Settings(), SystemClock(), PostgresBus(""), no_keys)).openapi()


def operations(name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of everything a service's document shows."""
    for path, item in document(name)["paths"].items():
        for method, operation in item.items():
            yield method, path, operation
