"""Fixtures of all tests: one PostgreSQL for the run; see `ground.py` for what stands on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from shared.embedded_postgres import EmbeddedPostgres
from tests.ground import Databases

pytest_plugins = ["tests.kafka"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A real PostgreSQL 18 for this run, without the cost of durability."""
    with open_folder() as folder, EmbeddedPostgres(folder, durable=False) as server:
        yield server


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A data folder for a test that starts PostgreSQL of its own."""
    with open_folder() as folder:
        yield folder


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder any user can get to: run by root, PostgreSQL is `nobody`, and pytest's own folders
    are closed to others."""
    with TemporaryDirectory(prefix="kechuang-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres) -> Databases:
    return Databases(postgres)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not run and why, a line a reason, where nobody can overlook it."""
    skipped = Counter(
        report.longrepr[2] for report in terminalreporter.getreports("skipped") if report.longrepr
    )
    for reason, tests in skipped.most_common():
        why = reason.removeprefix("Skipped: ")
        terminalreporter.write_line(f"未运行 not run: {tests} — {why}", yellow=True, bold=True)
