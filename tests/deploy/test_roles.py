"""`deploy/postgres/`: roles and databases on a real PostgreSQL, over TCP and with passwords, let in by the
very file that says who may come in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from deploy.kafka.configuration import free_port
from services.city import SERVICES
from shared.embedded_postgres import EmbeddedPostgres
from shared.measures.weave import ROOT
from shared.migrate import migrate
from shared.postgres_folder import programs_of_wheel
from tests.conftest import open_folder

FOLDER = ROOT / "deploy" / "postgres"
HERE = "127.0.0.1"


@dataclass
class Installation:
    server: EmbeddedPostgres
    port: int

    def make_roles(self, **own: str) -> subprocess.CompletedProcess[str]:
        passwords = {f"{name.upper()}_DATABASE_PASSWORD": f"of {name}" for name in SERVICES}
        told = {
            "PATH": f"{programs_of_wheel()}:{os.environ['PATH']}",
            "PGHOST": HERE,
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGPASSWORD": "the administrator's",
            "OPERATOR_DATABASE_PASSWORD": "of operator",
            "BACKUP_DATABASE_PASSWORD": "of backup",
        }
        return subprocess.run(
            [FOLDER / "roles.sh"], env=told | passwords | own, capture_output=True, text=True, check=False
        )

    def base_backup(self, folder: Path) -> str:
        """What pg_basebackup complains of, as the role `backup`."""
        program = str(programs_of_wheel() / "pg_basebackup")
        command = [program, "-h", HERE, "-p", str(self.port), "-U", "backup", "-D", str(folder)]
        told = {"PATH": os.environ["PATH"], "PGPASSWORD": "of backup"}
        copied = subprocess.run(
            [*command, "--no-sync", "--checkpoint=fast"],
            env=told,
            capture_output=True,
            text=True,
            check=False,
        )
        return str(copied.stderr)

    async def connect(self, user: str, database: str, password: str | None = None) -> asyncpg.Connection:
        told = password or f"of {user}"
        return await asyncpg.connect(host=HERE, port=self.port, user=user, database=database, password=told)

    async def ask(self, user: str, database: str, question: str, password: str | None = None) -> str:
        connection = await self.connect(user, database, password)
        try:
            return str(await connection.fetchval(question))
        finally:
            await connection.close()


@pytest.fixture(scope="module")
def it() -> Iterator[Installation]:
    with open_folder() as folder:
        # In the container its own user comes in by the socket; here the tests do, as anybody.
        hba = folder / "pg_hba.conf"
        shutil.copy(FOLDER / "pg_hba.conf", hba)
        hba.write_text("local all all trust\n" + hba.read_text("utf-8"), "utf-8")
        port = free_port()
        settings = {"listen_addresses": HERE, "port": str(port), "hba_file": str(hba)}
        with EmbeddedPostgres(folder / "data", durable=False, settings=settings) as server:
            installation = Installation(server, port)
            yield installation


@pytest.fixture(autouse=True)
async def roles(it: Installation) -> None:
    connection = await asyncpg.connect(it.server.url("postgres").replace("+asyncpg", ""))
    await connection.execute("ALTER ROLE postgres PASSWORD 'the administrator''s'")
    await connection.close()
    done = it.make_roles()
    assert done.returncode == 0, done.stderr


async def test_every_line_of_the_file_is_understood(it: Installation) -> None:
    wrong = "SELECT string_agg(error, '; ') FROM pg_hba_file_rules WHERE error IS NOT NULL"
    assert await it.ask("postgres", "postgres", wrong, "the administrator's") == "None"


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_owns_its_database_and_opens_no_other(it: Installation, name: str) -> None:
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert await it.ask(name, name, owner) == name
    for other in {*SERVICES, "postgres"} - {name}:
        with pytest.raises(asyncpg.PostgresError):
            await it.connect(name, other)


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_may_make_nothing_outside_of_its_database(it: Installation, name: str) -> None:
    connection = await it.connect(name, name)
    for order in (
        "CREATE DATABASE x",
        "CREATE ROLE x",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "COPY (SELECT 1) TO '/tmp/x'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(order)
    await connection.close()


async def test_nobody_comes_in_with_a_wrong_password_or_an_unknown_name(it: Installation) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await it.connect("lending", "lending", "wrong")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await it.connect("somebody", "lending", "x")


async def test_the_operator_acts_as_the_owner_of_each_database(it: Installation) -> None:
    await migrate(
        f"postgresql+asyncpg://lending:of%20lending@{HERE}:{it.port}/lending",
        "lending",
        SERVICES["lending"].migrations,
    )
    for name in SERVICES:
        assert await it.ask("operator", name, "SELECT current_user") == name
    await it.ask("operator", "lending", "UPDATE outbox SET published_at = NULL")
    connection = await it.connect("operator", "lending")
    await connection.execute("CREATE SCHEMA replayed")
    await connection.execute("DROP SCHEMA replayed")
    await connection.close()
    # What it makes is the service's, or the service could not use it.
    made = "SELECT count(*) FROM pg_class WHERE relowner = 'operator'::regrole"
    assert await it.ask("operator", "lending", made) == "0"


async def test_the_backup_copies_the_cluster_and_reads_no_table(it: Installation, tmp_path: Path) -> None:
    assert it.base_backup(tmp_path / "copy") == ""
    assert (tmp_path / "copy" / "PG_VERSION").exists()
    for name in SERVICES:
        with pytest.raises(asyncpg.PostgresError):
            await it.connect("backup", name)
    archiver = "SELECT archived_count FROM pg_stat_archiver"
    assert await it.ask("backup", "postgres", archiver) == "0", "what the health check asks"


async def test_again_it_changes_a_password_and_keeps_what_is_there(it: Installation) -> None:
    connection = await it.connect("roster", "roster")
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
    await connection.close()
    assert it.make_roles(ROSTER_DATABASE_PASSWORD="a 'new' one").returncode == 0
    assert await it.ask("roster", "roster", "SELECT count(*) FROM kept", "a 'new' one") == "0"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await it.connect("roster", "roster")


@pytest.mark.parametrize("missing", ["LENDING", "OPERATOR", "BACKUP"])
def test_without_a_password_nothing_is_made(it: Installation, missing: str) -> None:
    refused = it.make_roles(**{f"{missing}_DATABASE_PASSWORD": ""})
    assert refused.returncode == 1
    assert "first-start" in refused.stderr
