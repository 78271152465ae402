"""`python -m services`: everything in one process on an embedded PostgreSQL, and the operator's tools.

python -m services                 run the four services (the default)
python -m services SERVICE         run one service by itself (roster, lending, compensation, gateway)
python -m services migrate [NAME]  bring the databases to the newest schema
python -m services first-account NAME   make the office's first account; the password comes on standard input
python -m services demo            tell one whole journey against the running system
python -m services replay NAME     rebuild what a service remembers of the others and compare
python -m services check           verify the sealed audit logs and the fund's ledger
python -m services move            move an installation between the one-process and the production form
python -m services dead-letters    list what could not be taken in; `--resend`, `--discard`
python -m services republish       send every fact once more, into fresh topics, after a restore
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from services import operate, republishing, run
from shared.embedded_postgres import StartError
from shared.migrate import SchemaTooNew
from shared.settings import Settings

SERVICE_NAMES = ("roster", "lending", "compensation", "gateway")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status. What cannot start says why in one line."""
    chosen = _parser().parse_args(arguments)
    try:
        return _run(chosen, Settings())
    except (StartError, SchemaTooNew) as error:
        print(f"{error.message.zh}\n{error.message.en}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    for name in SERVICE_NAMES:
        commands.add_parser(name, help=f"run {name} by itself")
    commands.add_parser("run", help="run the four services in one process")
    commands.add_parser("migrate").add_argument("service", nargs="?", choices=SERVICE_NAMES)
    commands.add_parser("first-account").add_argument("name")
    demo = commands.add_parser("demo")
    demo.add_argument("--url", default=None)
    demo.add_argument("--language", choices=("zh", "en", "both"), default="both")
    commands.add_parser("replay").add_argument("service", nargs="?", choices=SERVICE_NAMES, default="lending")
    commands.add_parser("check")
    move = commands.add_parser("move", help="move an installation into another form; see docs/operations/")
    move.add_argument("--from", dest="source", type=Path, help="its data folder or file of settings")
    move.add_argument("--to", dest="target", type=Path, help="the same of the empty one it goes to")
    letters = commands.add_parser("dead-letters")
    letters.add_argument("topic", nargs="?")
    letters.add_argument("--resend", action="store_true")
    letters.add_argument("--discard", action="store_true")
    commands.add_parser(
        "republish", help="after a restore: every fact once more; see docs/operations/backup.md"
    )
    return parser


def _run(chosen: argparse.Namespace, settings: Settings) -> int:
    match chosen.command:
        case None | "run":
            return run.everything(settings)
        case "migrate":
            return run.migrations(settings, chosen.service)
        case "first-account":
            from services.gateway import first_account

            password = first_account.asked_password()
            return run.with_databases(
                settings, lambda s: first_account.command(s, chosen.name, password), ("gateway",)
            )
        case "demo":
            from services import demo as told

            url = chosen.url or f"http://{settings.host}:{settings.port}"
            return asyncio.run(told.tell(url, chosen.language))
        case "replay":
            return run.with_databases(settings, lambda s: operate.replay(s, chosen.service))
        case "check":
            return run.with_databases(settings, operate.check)
        case "move":
            from services.moving import command

            return command.run(settings, chosen.source, chosen.target)
        case "dead-letters":
            choice = operate.Letters(chosen.topic, resend=chosen.resend, discard=chosen.discard)
            return run.with_databases(settings, lambda s: operate.dead_letters(s, choice))
        case "republish":
            return run.with_databases(settings, republishing.republish)
        case service:
            return run.one(settings, service)


if __name__ == "__main__":
    sys.exit(main())
