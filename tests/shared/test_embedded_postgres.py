"""PostgreSQL in a folder: what a user may do to it, and what it must survive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from shared.database import plain_url
from shared.embedded_postgres import EmbeddedPostgres, FolderInUse, FolderNotWritable, FolderTooNew

HOLD = """
import sys, time
from pathlib import Path
from shared.embedded_postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
server.start()
server.ensure_databases(["held"])
print("up", (server.data / "postmaster.pid").read_text().split()[0], flush=True)
sys.stdin.read()
"""
SOMEBODY = 12345


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def hold(folder: Path, user: int | None = None) -> tuple[subprocess.Popen[str], int]:
    """A process that runs a server on the folder; the server's pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    word, pid = process.stdout.readline().split()
    assert word == "up"
    return process, int(pid)


def gone(pid: int) -> bool:
    try:
        return b"postgres" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


async def ask(server: EmbeddedPostgres, database: str, statement: str) -> object:
    connection = await asyncpg.connect(plain_url(server.url(database)))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        server.ensure_databases(["roster", "roster", "lending"])
        await ask(server, "roster", "CREATE TABLE t AS SELECT 7 AS n")
    with EmbeddedPostgres(tmp_path) as server:
        server.ensure_databases(["roster"])
        assert await ask(server, "roster", "SELECT n FROM t") == 7


async def test_after_a_power_cut_everything_committed_is_there(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.start()
    server.ensure_databases(["roster"])
    await ask(server, "roster", "CREATE TABLE t AS SELECT 7 AS n")
    server.kill()
    server.stop()
    with EmbeddedPostgres(tmp_path) as again:
        assert await ask(again, "roster", "SELECT n FROM t") == 7


def test_a_second_start_on_the_same_folder_says_what_to_do(tmp_path: Path) -> None:
    with (
        EmbeddedPostgres(tmp_path, durable=False),
        pytest.raises(FolderInUse, match="stop that one first"),
    ):
        EmbeddedPostgres(tmp_path).start()


def test_the_server_dies_with_a_killed_process_and_the_next_start_heals(tmp_path: Path) -> None:
    process, pid = hold(tmp_path)
    process.kill()
    process.communicate()
    until(lambda: gone(pid))
    with EmbeddedPostgres(tmp_path, durable=False) as server:
        server.ensure_databases(["held"])


def test_an_interrupted_first_start_leaves_nothing_half_made(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, durable=False) as server:
        home = server.home
    (home / "cluster").rename(home / "cluster.new")
    (home / "cluster.new" / "global" / "pg_control").unlink()
    with EmbeddedPostgres(tmp_path, durable=False) as server:
        server.ensure_databases(["roster"])
    assert not (home / "cluster.new").exists()


def test_a_folder_of_another_major_version_is_refused(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, durable=False) as server:
        version = server.data / "PG_VERSION"
    version.write_text("19\n")
    with pytest.raises(FolderTooNew, match="19"):
        EmbeddedPostgres(tmp_path).start()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FolderNotWritable, match="KECHUANG_DATA"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


async def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / ("path" * 20)
    with EmbeddedPostgres(folder, durable=False) as server:
        assert await ask(server, "postgres", "SELECT 1") == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_runs_the_server_as_itself(tmp_path: Path) -> None:
    # Where the checkout lies in a folder closed to others, the other user cannot even read it.
    here = (Path(sys.executable).resolve(), Path(__file__).resolve())
    if any(not parent.stat().st_mode & 0o001 for path in here for parent in path.parents):
        pytest.skip("this checkout is closed to other users")
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o001)
    folder = tmp_path / "home"
    folder.mkdir()
    os.chown(folder, SOMEBODY, SOMEBODY)
    tmp_path.chmod(0o711)
    process, pid = hold(folder / "data", SOMEBODY)
    assert Path(f"/proc/{pid}").stat().st_uid == SOMEBODY
    process.send_signal(signal.SIGTERM)
    process.communicate()
    until(lambda: gone(pid))
