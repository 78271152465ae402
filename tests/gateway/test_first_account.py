"""The first office account of an installation."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from services.gateway import first_account
from tests.gateway.gate import PASSWORD, Gate
from tests.ground import Databases


def run(it: Gate, monkeypatch: pytest.MonkeyPatch, password: str, *arguments: str) -> int:
    """The command as an operator runs it, on this gateway's database."""
    monkeypatch.setenv("KECHUANG_GATEWAY_DATABASE_URL", it.running.database.url)
    monkeypatch.setattr(sys, "stdin", io.StringIO(password + "\n"))
    return first_account.main(["create", *arguments])


async def in_thread(function: Callable[..., int], *arguments: Any) -> int:
    """The command brings an event loop of its own."""
    return await asyncio.to_thread(function, *arguments)


async def test_the_first_account_is_made_on_the_database_and_signs_in(
    it: Gate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await in_thread(run, it, monkeypatch, PASSWORD, "--name", "wang", "--role", "office") == 0
    assert "wang: office" in capsys.readouterr().out
    signed_in = await it.sign_in("wang")
    assert (signed_in.status_code, signed_in.json()["roles"]) == (201, ["office"])
    async with it.running.database.reading() as session:
        query = text("SELECT entry FROM audit WHERE operation = 'create_account'")
        entry = (await session.execute(query)).scalar_one()
    assert entry["subject"] == "operator"
    assert entry["changes"][0]["after"]["password_hash"] == "***"


async def test_a_taken_name_and_an_easy_password_are_told_in_both_languages(
    it: Gate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await it.account("wang")
    assert await in_thread(run, it, monkeypatch, PASSWORD, "--name", "wang") == 1
    told = capsys.readouterr().err
    assert "已有人用" in told
    assert "taken" in told
    assert await in_thread(run, it, monkeypatch, "aaaaaaaaaaaa", "--name", "lin") == 1
    assert await in_thread(run, it, monkeypatch, "", "--name", "lin") == 1
    assert (await it.sign_in("lin", "aaaaaaaaaaaa")).status_code == 401


async def test_on_an_empty_database_the_tables_are_made_first(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await databases.fresh(None, "empty")
    monkeypatch.setenv("KECHUANG_GATEWAY_DATABASE_URL", url)
    monkeypatch.setattr(sys, "stdin", io.StringIO(PASSWORD + "\n"))
    assert await in_thread(first_account.main, ["create", "--name", "wang"]) == 0
    await databases.drop(url)


def test_it_is_run_as_a_module() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "services.gateway.accounts", "create", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "--name" in shown.stdout
