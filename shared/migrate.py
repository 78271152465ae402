"""Bring a service's database to the newest schema: the shared tables first, then the service's own.

Each chain is Alembic's, with a version table of its own, and runs in one transaction under a lock, so
that replicas starting together migrate once. A database written by a newer version is refused.
"""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared import plumbing
from shared.rules import Text

SHARED = Path(__file__).parent / "migrations"


class SchemaTooNew(Exception):
    """The database was written by a newer version of the program."""

    def __init__(self, name: str, revision: str) -> None:
        self.message = Text(
            f"数据库 {name} 由更新的版本写成（{revision}）：请用该版本启动，或改用另一数据目录",
            f"Database {name} was written by a newer version ({revision}): "
            "start that version, or choose another data folder",
        )
        super().__init__(self.message.en)


async def migrate(url: str, name: str, own: Path | None) -> None:
    """Bring the database at `url` to head. Raises SchemaTooNew."""
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('kechuang.schema'))"))
            await connection.run_sync(_upgrade, SHARED, name, "schema_shared")
            if own is not None:
                await connection.run_sync(_upgrade, own, name, "schema_own")
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, folder: Path, name: str, version_table: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in script.walk_revisions()}
    context = MigrationContext.configure(connection, opts={"version_table": version_table})
    for revision in context.get_current_heads():
        if revision not in known:
            raise SchemaTooNew(name, revision)
    with EnvironmentContext(
        config,
        script,
        fn=lambda current, _context: script._upgrade_revs("head", current),
    ) as environment:
        environment.configure(connection=connection, version_table=version_table)
        environment.run_migrations()


def metadata_of(own: MetaData) -> list[MetaData]:
    """All tables a service's database should hold, for the guard that compares them."""
    return [plumbing.metadata, own]
