"""The broker's jars and the Java that runs them: what is there, what is missing, fetching it once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
LIBS = HERE / "target" / "libs"
LEAST_JAVA = 17
FETCH_SECONDS = 900


class NoBroker(Exception):
    """A broker cannot be had on this machine; the message says what is missing."""


def java() -> str | None:
    """The `java` of JAVA_HOME, else of the PATH, as Maven chooses it."""
    if home := os.environ.get("JAVA_HOME"):
        return shutil.which("java", path=str(Path(home) / "bin"))
    return shutil.which("java")


def available() -> str | None:
    """None when a broker can be started here, else what is missing, in words."""
    command = java()
    if command is None:
        return f"no Java found (JAVA_HOME, PATH); Java {LEAST_JAVA} or later is needed"
    version = _java_version(command)
    if version is None:
        return f"{command} does not run"
    if version < LEAST_JAVA:
        return f"{command} is Java {version}; Java {LEAST_JAVA} or later is needed"
    if not resolved() and shutil.which("mvn") is None:
        return "no Maven on the PATH to fetch the broker's jars"
    return None


def _java_version(command: str) -> int | None:
    """The feature release, 17 for "17.0.15" and 8 for "1.8.0_292"; None when it does not run."""
    try:
        told = subprocess.run(  # noqa: S603
            [command, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    return int(found[1]) if found and told.returncode == 0 else None


def resolved() -> bool:
    """Whether the jars are there and are the ones `pom.xml` names today."""
    mark = LIBS / "pom.sha256"
    return mark.exists() and mark.read_text("ascii") == _pom_digest()


def resolve() -> None:
    """Fetch the jars with Maven unless they are there: whole or not at all, one process at a time.

    Raises NoBroker when Java or Maven is missing or Maven fails.
    """
    if why := available():
        raise NoBroker(why)
    if resolved():
        return
    LIBS.parent.mkdir(exist_ok=True)
    with open(LIBS.parent / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not resolved():
            _fetch()


def _fetch() -> None:
    fresh = LIBS.with_name("libs.new")
    shutil.rmtree(fresh, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-Dstyle.color=never", f"-Dlibs={fresh}", "-f", str(POM), "package"]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as slow:
        raise NoBroker(f"Maven did not fetch the broker's jars in {FETCH_SECONDS} s") from slow
    if done.returncode != 0:
        raise NoBroker(f"Maven could not fetch the broker's jars: {(done.stdout + done.stderr)[:1000]}")
    (fresh / "pom.sha256").write_text(_pom_digest(), "ascii")
    shutil.rmtree(LIBS, ignore_errors=True)
    fresh.rename(LIBS)


def _pom_digest() -> str:
    return hashlib.sha256(POM.read_bytes()).hexdigest()
