"""The first office account of an installation."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from services.__main__ import main
from services.run import must_be_a_sandbox
from shared.embedded_postgres import StartError
from shared.settings import Settings
from tests.gateway.gate import PASSWORD, Gate
from tests.ground import Databases


def run(url: str, monkeypatch: pytest.MonkeyPatch, password: str, name: str) -> int:
    """The command as an operator runs it, on the gateway's database alone."""
    monkeypatch.setenv("KECHUANG_GATEWAY_DATABASE_URL", url)
    monkeypatch.setattr(sys, "stdin", io.StringIO(password + "\n"))
    return main(["first-account", name])


async def in_thread(function: Callable[..., int], *arguments: Any) -> int:
    """The command brings an event loop of its own."""
    return await asyncio.to_thread(function, *arguments)


async def test_the_first_account_is_made_on_the_database_and_signs_in(
    it: Gate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = it.running.database.url
    assert await in_thread(run, url, monkeypatch, PASSWORD, "wang") == 0
    assert "wang: office" in capsys.readouterr().out
    signed_in = await it.sign_in("wang")
    assert (signed_in.status_code, signed_in.json()["roles"]) == (201, ["office"])
    async with it.running.database.reading() as session:
        query = text("SELECT entry FROM audit WHERE operation = 'create_account'")
        entry = (await session.execute(query)).scalar_one()
    assert entry["subject"] == "operator"
    assert entry["changes"][0]["after"]["password_hash"] == "***"


async def test_where_there_is_an_account_it_makes_no_other(
    it: Gate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await it.account("wang")
    assert await in_thread(run, it.running.database.url, monkeypatch, PASSWORD, "lin") == 1
    told = capsys.readouterr().err
    assert "已有账户" in told
    assert "accounts already" in told
    assert (await it.sign_in("lin", PASSWORD)).status_code == 401


@pytest.mark.parametrize("easy", ["aaaaaaaaaaaa", ""])
async def test_an_easy_password_is_not_taken(it: Gate, monkeypatch: pytest.MonkeyPatch, easy: str) -> None:
    assert await in_thread(run, it.running.database.url, monkeypatch, easy, "lin") == 1
    assert (await it.sign_in("lin", easy or "?")).status_code == 401


async def test_on_an_empty_database_the_tables_are_made_first(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await databases.fresh(None, "empty")
    assert await in_thread(run, url, monkeypatch, PASSWORD, "wang") == 0
    await databases.drop(url)


def data(it: Gate, folder: Path) -> Settings:
    return Settings(data=folder, gateway_database_url=it.running.database.url, sandbox=True)


async def test_live_data_is_never_made_a_sandbox(it: Gate, tmp_path: Path) -> None:
    await it.account("wang")
    with pytest.raises(StartError, match="KECHUANG_SANDBOX=0"):
        await must_be_a_sandbox(data(it, tmp_path))


async def test_a_sandbox_whose_first_start_was_interrupted_goes_on(it: Gate, tmp_path: Path) -> None:
    await must_be_a_sandbox(data(it, tmp_path))
    await it.account("wang")
    await must_be_a_sandbox(data(it, tmp_path))
