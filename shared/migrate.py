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
from shared.database import search_path
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


async def migrate(url: str, name: str, own: Path | None, *, schema: str = "public") -> None:
    """Bring the database at `url` to head, in a schema that is there. Raises SchemaTooNew."""
    engine = create_async_engine(
        url, poolclass=NullPool, connect_args={"server_settings": {"search_path": search_path(schema)}}
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('kechuang.schema'))"))
            await connection.run_sync(_upgrade, SHARED, name, "schema_shared", schema)
            if own is not None:
                await connection.run_sync(_upgrade, own, name, "schema_own", schema)
    finally:
        await engine.dispose()


async def is_newest(url: str, name: str, own: Path) -> bool:
    """Whether the database at `url` is at head; nothing is changed. Raises SchemaTooNew."""
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            chains = ((SHARED, "schema_shared"), (own, "schema_own"))
            return all([await connection.run_sync(_is_head, folder, name, table) for folder, table in chains])
    finally:
        await engine.dispose()


def _is_head(connection: Connection, folder: Path, name: str, version_table: str) -> bool:
    script = ScriptDirectory.from_config(_config(folder))
    return _known_heads(connection, script, name, version_table) == set(script.get_heads())


def _config(folder: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    return config


def _known_heads(
    connection: Connection, script: ScriptDirectory, name: str, version_table: str, schema: str = "public"
) -> set[str]:
    """The revisions the database is at. Raises SchemaTooNew for one that is not ours."""
    known = {revision.revision for revision in script.walk_revisions()}
    opts = {"version_table": version_table, "version_table_schema": schema}
    context = MigrationContext.configure(connection, opts=opts)
    heads = set(context.get_current_heads())
    for revision in heads - known:
        raise SchemaTooNew(name, revision)
    return heads


def _upgrade(connection: Connection, folder: Path, name: str, version_table: str, schema: str) -> None:
    config = _config(folder)
    script = ScriptDirectory.from_config(config)
    _known_heads(connection, script, name, version_table, schema)
    with EnvironmentContext(
        config,
        script,
        fn=lambda current, _context: script._upgrade_revs("head", current),
    ) as environment:
        environment.configure(connection=connection, version_table=version_table, version_table_schema=schema)
        environment.run_migrations()


def metadata_of(own: MetaData) -> list[MetaData]:
    """All tables a service's database should hold, for the guard that compares them."""
    return [plumbing.metadata, own]
