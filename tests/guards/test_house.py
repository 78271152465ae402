"""The house rules that a reader of one file cannot see broken: who commits, where time and figures come from,
names, sizes, and what has no place in the tree. Every exception stands here, with its reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pytest

from shared.measures import FILE, load
from shared.measures.weave import ROOT
from tests.guards.source import (
    FUNCTIONS,
    SERVICES,
    calls,
    constants,
    dotted,
    functions,
    name_of,
    parsed,
    python,
    service,
    tree_files,
)

MONEY_SERVICES = ("services/roster", "services/lending", "services/compensation")
CODE = ("services", "shared", "tests", "bench", "deploy")


def in_migrations(file: Path) -> bool:
    return "migrations" in file.parts


# ── transactions and time ────────────────────────────────────────────────────────────────────────

ENDS_A_TRANSACTION = {"commit", "rollback", "begin", "begin_nested"}


def ends_of_transactions(file: Path) -> list[str]:
    return [
        f"{name_of(file)}:{call.lineno} {name}"
        for name, call in calls(file)
        if name.rsplit(".", 1)[-1] in ENDS_A_TRANSACTION and name != "audit.begin"
    ]


def test_only_the_shared_ground_begins_and_ends_transactions() -> None:
    assert [line for file in python("services") for line in ends_of_transactions(file)] == []


WALL_CLOCK = re.compile(r"(^|\.)(date\.today|datetime\.(now|utcnow|today)|time\.(time|time_ns|localtime))$")
INSTANTS = {
    "shared/clock.py": "the clock itself",
    "shared/readiness.py": "how long ago a background task moved",
    "shared/inbox.py": "when the consumer last moved",
    "shared/outbox.py": "when the relay last moved",
    "shared/events.py": "the instant of an event, not its business date",
    "services/gateway/keys.py": "tokens and sessions expire by real time, also in a held sandbox",
    "services/operate.py": "an operator's tool: up to when seals are verified",
}
"""Where an instant of the real world is meant, never a business date."""


@pytest.mark.parametrize("file", python("services", "shared"), ids=name_of)
def test_today_comes_from_the_clock(file: Path) -> None:
    found = [f"line {call.lineno}: {name}()" for name, call in calls(file) if WALL_CLOCK.search(name)]
    assert not found or name_of(file) in INSTANTS, found


def test_every_exception_to_the_clock_is_still_needed() -> None:
    needed = {
        name_of(file)
        for file in python("services", "shared")
        if any(WALL_CLOCK.search(name) for name, _ in calls(file))
    }
    assert INSTANTS.keys() - needed == set()


def test_no_statement_asks_the_database_for_today() -> None:
    today = re.compile(r"\b(current_date|localtimestamp|now\(\)::date)\b", re.IGNORECASE)
    found = [
        f"{name_of(file)}:{constant.lineno}"
        for file in python("services")
        for constant in constants(file)
        if isinstance(constant.value, str) and today.search(constant.value)
    ]
    assert found == []


WAITS_FOR_A_CONDITION = {("tests/ground.py", "eventually")}
"""The one place that polls, with a limit; `sleep(0)` only lets others run."""


def sleeps(file: Path) -> Iterator[str]:
    for function in functions(file):
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and dotted(node.func).rsplit(".", 1)[-1] == "sleep":
                lets_others_run = [a.value for a in node.args if isinstance(a, ast.Constant)] == [0]
                if not lets_others_run and (name_of(file), function.name) not in WAITS_FOR_A_CONDITION:
                    yield f"{name_of(file)}:{node.lineno} in {function.name}"


def test_no_test_sleeps() -> None:
    assert [line for file in python("tests") for line in sleeps(file)] == []


# ── figures ──────────────────────────────────────────────────────────────────────────────────────

MEANT_OTHERWISE: dict[tuple[str, str], str] = {
    ("services/lending/policy.py", "12"): "months of a year; the tenor of the one-year LPR",
    ("services/lending/policy.py", "60"): "the tenor, in months, of the five-year LPR",
    ("services/lending/schedule.py", "3"): "months of a quarter",
    ("services/lending/schedule.py", "12"): "months of a year",
}
"""Numbers that look like a figure of the law and mean something else: (file, number) → what."""
A_SUM_OF_MONEY = 100_000
WHERE_THE_RULES_ARE = ("policy", "schedule")
COUNTING = ("timedelta", "percent_down", "percent_of", "after", "add_working_days", "add_months", "add_years")
UNREMARKABLE = 60
"""Numbers up to this measure columns and buffers too."""


def figures_of_the_law() -> set[Decimal]:
    """Every number of the measures file, also as fen, as a fraction and as a percentage."""
    found: set[Decimal] = set()

    def take(value: object) -> None:
        if isinstance(value, bool):
            return
        if isinstance(value, dict):
            for part in value.values():
                take(part)
        elif isinstance(value, list | tuple):
            for part in value:
                take(part)
        elif isinstance(value, int | str | Decimal):
            try:
                number = Decimal(value)
            except InvalidOperation:
                return
            found.update({number, number / 100})
            if number >= A_SUM_OF_MONEY:
                found.add(number * 100)

    for values in load(FILE).values.values():
        for _, value in values:
            take(value)
    return {number for number in found if number not in (0, 1, 2, 100)}


LAW = figures_of_the_law()


def literals(file: Path) -> Iterator[tuple[int, str]]:
    """(line, number) of every integer literal and every Decimal("…") in this file."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            yield node.lineno, str(node.value)
        elif isinstance(node, ast.Call) and dotted(node.func) == "Decimal" and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value


def counted(file: Path) -> Iterator[tuple[int, str]]:
    """(line, number) of every literal that counts days or takes a share, wherever it stands."""
    for name, call in calls(file):
        if name.rsplit(".", 1)[-1] in COUNTING:
            for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                if isinstance(argument, ast.Constant) and type(argument.value) is int:
                    yield argument.lineno, str(argument.value)


def figures_in(file: Path) -> list[tuple[int, str]]:
    """Literals that look like a figure of the law: all where the rules are; elsewhere those that count days
    or take shares, and numbers too large to be anything else."""
    every = file.stem in WHERE_THE_RULES_ARE
    found = [
        (line, n) for line, n in literals(file) if Decimal(n) in LAW and (every or Decimal(n) > UNREMARKABLE)
    ]
    return sorted({*found, *((line, n) for line, n in counted(file) if Decimal(n) in LAW)})


@pytest.mark.parametrize("file", python(*MONEY_SERVICES), ids=name_of)
def test_no_figure_of_the_law_stands_in_code(file: Path) -> None:
    if in_migrations(file):
        return
    found = [
        f"line {line}: {number}"
        for line, number in figures_in(file)
        if (name_of(file), number) not in MEANT_OTHERWISE
    ]
    assert found == [], "take it from measures_on(day), or say in MEANT_OTHERWISE what it is"


def test_every_exception_to_the_figures_is_still_needed() -> None:
    found = {(name_of(file), number) for file in python(*MONEY_SERVICES) for _, number in literals(file)}
    assert MEANT_OTHERWISE.keys() - found == set()


def test_the_guard_knows_the_law_s_figures_in_every_form() -> None:
    assert {
        Decimal(n) for n in ("10000000", "1000000000", "90", "60", "0.4", "0.6", "40", "5", "3", "12")
    } <= LAW


# ── money ────────────────────────────────────────────────────────────────────────────────────────


IN_SECONDS = {("services/roster/import_work.py", 0.2): "how often a waiting import looks"}
"""Floats that measure no money: (file, number) → what."""


@pytest.mark.parametrize("file", python(*MONEY_SERVICES, "shared/measures"), ids=name_of)
def test_no_float_where_there_is_money(file: Path) -> None:
    found = [
        f"line {node.lineno}"
        for node in ast.walk(parsed(file))
        if (
            isinstance(node, ast.Constant)
            and type(node.value) is float
            and (name_of(file), node.value) not in IN_SECONDS
        )
        or (isinstance(node, ast.Name) and node.id == "float")
    ]
    assert found == []


def test_the_gateway_holds_no_money() -> None:
    names = {
        node.id if isinstance(node, ast.Name) else node.attr
        for file in python("services/gateway")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Name | ast.Attribute)
    }
    assert {name for name in names if name.endswith("_fen")} == set()


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "gateway"])
def test_money_is_kept_as_whole_fen(name: str) -> None:
    wrong = []
    for table in service(name).metadata.sorted_tables:
        for column in table.columns:
            kind = type(column.type).__name__.upper()
            if column.name.endswith("_fen") != (kind == "BIGINTEGER" and column.name.endswith("_fen")):
                wrong.append(f"{table.name}.{column.name}: {kind}")
            if kind in ("FLOAT", "DOUBLE", "REAL", "MONEY"):
                wrong.append(f"{table.name}.{column.name}: {kind}")
    assert wrong == []


# ── names and sizes ──────────────────────────────────────────────────────────────────────────────

NO_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "base",
    "misc",
    "core",
    "manager",
    "lib",
    "models",
}
LONGEST_FUNCTION = 40
LONGEST_STEP = 200
LARGER = {
    "schedule": "one subject, the schedule of a loan, whole in one place",
    "policy": "the rules of one service, one after the other",
    "loan": "the aggregate: tables and states",
    "claim": "the aggregate: tables and states",
    "covered_loan": "what compensation remembers of a loan, with how it is read",
    "shown": "answers of several steps, no logic",
    "reads": "every question of a service",
    "demo": "one journey told line by line",
    "demo_data": "the demo city, told line by line",
    "run": "starting and ending the whole system",
}
"""Files of services that may be longer than a step, by name, with the reason."""


@pytest.mark.parametrize("folder", ["services", "shared", "tests", "bench"])
def test_no_file_is_named_after_nothing(folder: str) -> None:
    places = [part for file in python(folder) for part in (file.stem, file.parent.name)]
    assert NO_NAMES & set(places) == set()


def too_long(files: Iterable[Path]) -> list[str]:
    return [
        f"{name_of(file)}: {function.name} has {length} lines"
        for file in files
        if not in_migrations(file)
        for function in functions(file)
        if (length := lines_of(function)) > LONGEST_FUNCTION
    ]


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function from its `def`, without its docstring and its decorators."""
    body = function.body
    has_docstring = ast.get_docstring(function, clean=False) is not None
    docstring = (body[0].end_lineno or 0) - body[0].lineno + 1 if has_docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_a_function_fits_on_a_screen() -> None:
    assert too_long(python("services", "shared")) == []


def test_a_step_fits_in_one_reading() -> None:
    long = {
        name_of(file): lines
        for file in python("services")
        if not in_migrations(file) and file.stem not in LARGER
        if (lines := file.read_text("utf-8").count("\n")) > LONGEST_STEP
    }
    assert long == {}


@pytest.mark.parametrize("file", python("services", "shared"), ids=name_of)
def test_a_file_says_what_it_is_for(file: Path) -> None:
    assert ast.get_docstring(parsed(file)) or in_migrations(file)


def test_no_class_of_a_table_is_inherited_and_no_repository_is_kept() -> None:
    found = [
        f"{name_of(file)}: {node.name}"
        for file in python("services", "shared")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.ClassDef)
        and node.name.endswith(("Repository", "Manager", "Helper", "DAO", "CRUD"))
    ]
    assert found == []


# ── what has no place in the tree ────────────────────────────────────────────────────────────────

FOREIGN = re.compile(
    "|".join(
        (
            r"(?<![\w.~])/(work|root|home|Users)/\w",
            r"\bpypi\.(org|io)\b",
            r"files\.pythonhosted",
            r"\brepo1?\.maven",
            r"maven\.org",
            r"registry\.npmjs",
            r"registry\.yarnpkg",
            r"proxy\.golang",
            r"--(extra-)?index-url[ =]\S",
            r"\"resolved\": \"https?:",
        )
    )
)
THIS_FILE = Path(__file__)


def foreign(text: str) -> list[str]:
    return [
        f"line {number}: {line.strip()[:100]}"
        for number, line in enumerate(text.splitlines(), 1)
        if FOREIGN.search(line)
    ]


def test_no_path_of_a_machine_and_no_address_of_a_registry_stands_in_the_tree() -> None:
    found: dict[str, list[str]] = {}
    for file in tree_files():
        if file == THIS_FILE:
            continue
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if lines := foreign(text):
            found[name_of(file)] = lines[:3]
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "cd /work/x",
        "/home/ann/kechuang",
        "--index-url https://example.org",
        '"resolved": "https://a/b.tgz"',
        "https://pypi.org/simple",
    ],
)
def test_the_guard_sees_what_is_foreign(line: str) -> None:
    assert foreign(line)


@pytest.mark.parametrize(
    "line", ["--no-emit-index-url", "/v1/loans", "the work/home balance", "docs/rules.md"]
)
def test_the_guard_lets_what_is_ours_pass(line: str) -> None:
    assert not foreign(line)


LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]), ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    broken = [
        target
        for target in LINK.findall(page.read_text("utf-8"))
        if not target.startswith(("http://", "https://", "mailto:")) and not (page.parent / target).exists()
    ]
    assert broken == []


PATH_IN_TEXT = re.compile(r"`((?:services|shared|docs|tests|deploy|bench)/[\w./-]+)`")


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))],
    ids=name_of,
)
def test_every_path_a_page_names_exists(page: Path) -> None:
    missing = [path for path in PATH_IN_TEXT.findall(page.read_text("utf-8")) if not (ROOT / path).exists()]
    assert missing == []


def test_every_test_file_has_tests_that_assert() -> None:
    silent = []
    for file in python("tests"):
        if not file.name.startswith("test_"):
            continue
        tests = [
            node for node in functions(file) if isinstance(node, FUNCTIONS) and node.name.startswith("test_")
        ]
        if not tests:
            silent.append(f"{name_of(file)} has no test")
        silent += [f"{name_of(file)}: {test.name}" for test in tests if not can_fail(test)]
    assert silent == []


def can_fail(test: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A test that asserts, demands an error, or awaits or calls something that may: not an empty one."""
    return any(
        isinstance(node, ast.Assert | ast.Call | ast.Raise)
        for statement in test.body
        for node in ast.walk(statement)
    )
