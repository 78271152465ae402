"""A PostgreSQL whose WAL the scripts of `deploy/backup/` archive, and those scripts run on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from shared.database import plain_url
from shared.embedded_postgres import EmbeddedPostgres
from shared.measures.weave import ROOT
from shared.postgres_folder import Account
from tests.ground import eventually

SCRIPTS = ROOT / "deploy" / "backup"


class Archived:
    """The server, its archive, and the operator at its side."""

    def __init__(self, folder: Path) -> None:
        self.account = Account.choose()
        # Copied: run by root, the server is another user, who may not get into the checkout.
        self.scripts = folder / "scripts"
        shutil.copytree(SCRIPTS, self.scripts)
        self.backups = folder / "backups"
        self.backups.mkdir()
        if self.account.other:
            os.chown(self.backups, self.account.uid, self.account.gid)
        archive = f"BACKUP_FOLDER={self.backups} {self.scripts / 'archive.sh'} %p %f"
        settings = {"archive_mode": "on", "archive_command": archive}
        self.server = EmbeddedPostgres(folder / "data", settings=settings)
        self.server.start()

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """One of the scripts, as the server's own user, with what compose gives it."""
        programs = self.server._folder.programs()
        told = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGHOST": str(self.server._folder.sockets),
            "PGUSER": "postgres",
            "PGDATA": str(self.server.data),
            "BACKUP_FOLDER": str(self.backups),
            "LC_ALL": "C.UTF-8",
        }
        other = self.account.other
        return subprocess.run(
            [self.scripts / script, *arguments],
            env=told | environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            user=self.account.uid if other else None,
            group=self.account.gid if other else None,
            extra_groups=[] if other else None,
        )

    def base_backup(self, **environment: str) -> str:
        """Make one; its name."""
        done = self.run("base-backup.sh", **environment)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.splitlines()[0]).name

    @property
    def bases(self) -> list[str]:
        return sorted(place.name for place in (self.backups / "base").iterdir() if place.name[0] != ".")

    @property
    def segments(self) -> list[str]:
        """The archived WAL segments, by name without `.gz`."""
        found = (place.name.removesuffix(".gz") for place in (self.backups / "wal").glob("*.gz"))
        return sorted(name for name in found if len(name) == 24)

    async def ask(self, question: str) -> str:
        connection = await asyncpg.connect(plain_url(self.server.url("postgres")))
        try:
            return str(await connection.fetchval(question))
        finally:
            await connection.close()

    async def close_segment(self) -> str:
        """Close the present WAL segment, which is then to be archived; its name."""
        # A segment in which nothing happened is not closed.
        await self.ask("SELECT pg_logical_emit_message(false, 'rehearsal', 'close')")
        return await self.ask("SELECT pg_walfile_name(pg_switch_wal())")

    async def archive_all(self) -> None:
        """Close the present WAL segment and wait until it lies in the archive."""
        segment = await self.close_segment()

        async def there() -> bool:
            return segment in self.segments

        await eventually(there, f"{segment} in the archive")

    async def is_itself_again(self) -> bool:
        """Whether the recovery is over: before, the server answers questions and takes no orders."""
        return await self.ask("SELECT pg_is_in_recovery()") == "False"

    def lose_everything(self) -> None:
        """The machine burns: the server is gone at once, and its disk."""
        self.server.kill()
        for place in self.server.data.iterdir():
            shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()


@contextmanager
def archived(folder: Path) -> Iterator[Archived]:
    it = Archived(folder)
    try:
        yield it
    finally:
        it.server.stop()
