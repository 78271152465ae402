"""A single-node Apache Kafka broker (KRaft) without Docker, from the jars `pom.xml` names.

    python -m deploy.kafka.broker run [--folder F] [--port P] [--secure]    until Ctrl-C or `stop`
    python -m deploy.kafka.broker format | stop [--folder F]

Tests use `Broker`: start, kill -9, restart on the same folder and ports, pause and resume. Listeners:
PLAINTEXT, and with `secure=True` also SASL_SSL with SCRAM-SHA-512 under a certificate made on the spot.
Everything listens on this machine only, and the user's password is public: never for production.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from deploy.kafka.certificates import make_certificates
from deploy.kafka.configuration import Ports, properties
from deploy.kafka.jars import HERE, LIBS, NoBroker, available, java, resolve
from deploy.kafka.knock import answers, listens

__all__ = ["PASSWORD", "USER", "Broker", "NoBroker", "StartFailed", "available", "die_with_parent", "resolve"]

USER, PASSWORD = "kechuang", "only-for-tests"
CLUSTER_ID = "kechuang-one-node-0000"
START_SECONDS, STOP_SECONDS = 60.0, 30.0
PR_SET_PDEATHSIG = 1
JVM = ("-Xms256m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")


class StartFailed(Exception):
    """The broker was there and did not format or start; the message ends with its log."""


class Broker:
    """One broker whose state lies in `folder`. It dies with the thread that started it, so start it
    from a thread that lives as long as the broker is wanted (the main one)."""

    def __init__(self, folder: Path, port: int = 0, *, secure: bool = False) -> None:
        """`port` 0: the port the folder's broker had before, or a free one."""
        self.folder = folder.absolute()
        self.ports = Ports.of(self.folder, port, secure)
        self._process: subprocess.Popen[bytes] | None = None
        self._hold: IO[str] | None = None

    @property
    def servers(self) -> str:
        """The bootstrap servers of the PLAINTEXT listener."""
        return f"127.0.0.1:{self.ports.plain}"

    @property
    def secure_servers(self) -> str:
        """The bootstrap servers of the SASL_SSL listener: USER, PASSWORD, SCRAM-SHA-512, `ca_file`."""
        if not self.ports.secure:
            raise ValueError("this broker has no SASL_SSL listener: Broker(..., secure=True)")
        return f"localhost:{self.ports.secure}"

    @property
    def port(self) -> int:
        return self.ports.plain

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def log(self) -> Path:
        """What the broker says of itself; what the JVM says (a crash) is in `broker.out` beside it."""
        return self.folder / "broker.log"

    @property
    def pid(self) -> int | None:
        """The JVM's process id while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def format(self) -> None:
        """Write the configuration and make the log folder, if it is new. Safe to repeat.

        Raises NoBroker when the jars cannot be had, StartFailed when formatting fails.
        """
        resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ports.keep(self.folder)
        server_file = self.folder / "server.pem"
        if self.ports.secure and not server_file.exists():
            make_certificates(self.ca_file, server_file)
        data, config = self.folder / "data", self.folder / "server.properties"
        config.write_text(properties(self.ports, data, server_file), "utf-8")
        if (data / "meta.properties").exists():
            return
        arguments = ["format", "-t", CLUSTER_ID, "-c", str(config), "--standalone"]
        # The user is always made, so that a folder may get its SASL_SSL listener later.
        arguments += ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
        if self._java("kafka.tools.StorageTool", *arguments).wait(START_SECONDS) != 0:
            raise StartFailed(f"formatting failed: {self._last_words()}")

    def start(self) -> None:
        """Format if need be, start, and return when the broker takes part in its cluster.

        Raises NoBroker when the jars cannot be had, StartFailed when it does not come up.
        """
        self._take_folder()
        try:
            self._start()
        except BaseException:
            self.kill()
            raise

    def _start(self) -> None:
        # Whoever listens there already would be taken for the broker about to start.
        for port in filter(None, astuple(self.ports)):
            if listens(port):
                raise StartFailed(f"somebody listens on port {port} already")
        self.format()
        self._process = self._java("kafka.Kafka", str(self.folder / "server.properties"))
        (self.folder / "broker.pid").write_text(str(self._process.pid), "ascii")
        self._await_ready(self._process)

    def _take_folder(self) -> None:
        """One broker at a time works in a folder; the hold ends with `stop`, `kill`, or this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        hold = open(self.folder / "lock", "w", encoding="ascii")  # noqa: SIM115
        try:
            fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as taken:
            hold.close()
            raise StartFailed(f"a broker runs in {self.folder} already") from taken
        self._hold = hold

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.ports.plain, limit_seconds=1.0):
            if process.poll() is not None:
                raise StartFailed(f"the broker ended with {process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise StartFailed(f"the broker is not ready in {START_SECONDS} s: {self._last_words()}")
            time.sleep(0.02)

    def answers(self, limit_seconds: float = 1.0) -> bool:
        """Whether the broker answers within the limit and takes part in its cluster."""
        return answers(self.ports.plain, limit_seconds)

    def stop(self) -> None:
        """Stop orderly; does nothing when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as kill -9 does; the data stays."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop orderly and start again, on the same folder and ports."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop answering without closing a connection, as a hanging machine; in force on return."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def wait(self) -> int:
        """Wait until the broker ends by itself or by `stop` from outside; its exit status."""
        return self._running().wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this broker is not running")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        hold, self._hold = self._hold, None
        if process is not None:
            self._end_process(process, how)
        if hold is not None:
            hold.close()

    def _end_process(self, process: subprocess.Popen[bytes], how: signal.Signals) -> None:
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # A paused process hears SIGTERM only when it goes on.
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
        (self.folder / "broker.pid").unlink(missing_ok=True)

    def _java(self, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        settings = (
            f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
            f"-Dkechuang.kafka.log={self.log}",
        )
        command = [java() or "java", *JVM, *settings, "-cp", f"{LIBS}/*", main, *arguments]
        with open(self.folder / "broker.out", "ab") as out:
            return subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder,
                start_new_session=True, preexec_fn=die_with_parent(),
            )  # fmt: skip

    def _last_words(self) -> str:
        told = (self.folder / name for name in ("broker.out", "broker.log"))
        return "\n".join(path.read_text("utf-8", "replace")[-1000:] for path in told if path.exists())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def die_with_parent() -> Callable[[], None] | None:
    """What a child is to do first (`preexec_fn`) so that it dies with the thread that starts it."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It died before we asked.
            os._exit(1)

    return ask


if __name__ == "__main__":
    from deploy.kafka.command import main

    main()
