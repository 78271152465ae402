"""The first office account of an installation, made on the database itself: nobody can sign in before."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from services.gateway.account import Account
from services.gateway.keys import utc_now
from services.gateway.passwords import HASHER, demand_strength
from services.gateway.shown import refuse_taken
from shared import audit
from shared.database import Database, new_id
from shared.migrate import migrate
from shared.problems import Refusal
from shared.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"


async def create(settings: Settings, name: str, password: str) -> int:
    """Make an office account of this name; 0. Raises NameTaken, InvalidInput."""
    demand_strength(password, name)
    await migrate(settings.gateway_database_url, "gateway", MIGRATIONS)
    database = Database(settings.gateway_database_url, pool=1)
    try:
        async with database.transaction() as session:
            deed = audit.Deed("create_account", utc_now(), "operator", "operator", (), None, str(new_id()))
            audit.begin(session, deed)
            await refuse_taken(session, name)
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
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the password from standard input and make the account; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.gateway.accounts")
    making = parser.add_subparsers(required=True).add_parser("create", help="make an office account")
    making.add_argument("--name", required=True)
    making.add_argument("--role", choices=["office"], default="office")
    chosen = parser.parse_args(arguments)
    password = sys.stdin.readline().rstrip("\r\n")
    settings = Settings()
    try:
        if settings.gateway_database_url:
            asyncio.run(create(settings, chosen.name, password))
        else:  # the embedded PostgreSQL, whether the system is running or not
            from services.run import with_databases

            with_databases(settings, lambda complete: create(complete, chosen.name, password))
    except Refusal as refusal:
        print(f"{refusal.detail.zh}\n{refusal.detail.en}", file=sys.stderr)
        return 1
    print(f"{chosen.name}: office")
    return 0
