"""`python -m services first-account NAME`: the first office account of an installation, made on the database
itself, because nobody can sign in before. Every other account is made by the office (`accounts.py`), so
this refuses as soon as there is one: whoever gets to the database's address gains nothing by it.
"""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path

from sqlalchemy import select, text
from sqlmodel import col

from services.gateway.account import Account
from services.gateway.keys import utc_now
from services.gateway.passwords import HASHER, demand_strength
from shared import audit
from shared.database import Database, new_id
from shared.migrate import migrate
from shared.problems import Refusal
from shared.rules import Text
from shared.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
ANY = select(col(Account.id)).limit(1)
ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtext('kechuang.first-account'))")


class AccountsExist(Refusal):
    """The first account was made long ago; the office makes all others."""

    title = Text("已有账户", "There are accounts already")


async def command(settings: Settings, name: str, password: str) -> int:
    """Make the account and say so, or say why not; the exit status."""
    try:
        await create(settings, name, password)
    except Refusal as refusal:
        print(f"{refusal.detail.zh}\n{refusal.detail.en}", file=sys.stderr)
        return 1
    print(f"{name}: office")
    return 0


async def create(settings: Settings, name: str, password: str) -> None:
    """Make an office account of this name. Raises AccountsExist, InvalidInput."""
    demand_strength(password, name)
    await migrate(settings.gateway_database_url, "gateway", MIGRATIONS)
    database = Database(settings.gateway_database_url, pool=1)
    try:
        async with database.transaction() as session:
            deed = audit.Deed("create_account", utc_now(), "operator", "operator", (), None, str(new_id()))
            audit.begin(session, deed)
            await session.execute(ONE_AT_A_TIME)
            if (await session.execute(ANY)).first():
                raise AccountsExist(
                    Text(
                        "已有账户，其余账户由办公室设立",
                        "There are accounts already; the office makes all others",
                    )
                )
            account = Account(
                id=new_id(),
                name=name,
                display_name=name,
                password_hash=HASHER.hash(password),
                roles=["office"],
                created_at=utc_now(),
            )
            session.add(account)
    finally:
        await database.close()


async def made(settings: Settings) -> bool:
    """Is there any account yet?"""
    database = Database(settings.gateway_database_url, pool=1)
    try:
        async with database.reading() as session:
            return (await session.execute(ANY)).first() is not None
    finally:
        await database.close()


def asked_password() -> str:
    """The password: asked for without being shown, or the first line of a standard input that is no
    terminal. Never an argument: whoever lists the processes would read it."""
    if sys.stdin.isatty():
        return getpass("口令 password: ")
    return sys.stdin.readline().rstrip("\r\n")
