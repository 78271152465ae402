"""`python -m deploy.kafka.broker`: run a broker in the foreground, format its folder, or stop it."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from deploy.kafka.broker import PASSWORD, STOP_SECONDS, USER, Broker, StartFailed
from deploy.kafka.jars import HERE, NoBroker

FOLDER = HERE / "target" / "broker"


def main() -> None:
    """Run the command; exits 1 with one line when there is no broker to be had, or none to stop."""
    asked = _arguments().parse_args()
    try:
        if asked.what == "stop":
            stop(asked.folder)
            return
        broker = Broker(asked.folder, asked.port, secure=asked.secure)
        if asked.what == "format":
            broker.format()
        else:
            run(broker)
    except (NoBroker, StartFailed) as why:
        sys.exit(f"Kafka: {why}")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.kafka.broker", description=__doc__)
    parser.add_argument("what", choices=("run", "format", "stop"))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where its state lies")
    parser.add_argument("--port", type=int, default=9092, help="of the PLAINTEXT listener")
    parser.add_argument("--secure", action="store_true", help="a SASL_SSL listener too")
    return parser


def run(broker: Broker) -> None:
    """Run until Ctrl-C, SIGTERM, or `stop`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        broker.start()
        print(f"Kafka on {broker.servers}, log in {broker.log}", flush=True)
        if broker.ports.secure:
            secure = f"SASL_SSL on {broker.secure_servers}, user {USER}, password {PASSWORD}"
            print(f"{secure}, CA in {broker.ca_file}", flush=True)
        broker.wait()
    except KeyboardInterrupt:
        pass
    finally:
        broker.stop()


def stop(folder: Path) -> None:
    """Stop the broker that `run` started on this folder, orderly, and wait until it is gone."""
    kept = folder.absolute() / "broker.pid"
    pid = int(kept.read_text("ascii")) if kept.exists() else 0
    if not pid or not _is_broker(pid, folder):
        raise NoBroker(f"none runs in {folder}")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _is_broker(pid, folder):
        if time.monotonic() > deadline:
            raise NoBroker(f"the one in {folder} (process {pid}) did not stop in {STOP_SECONDS:.0f} s")
        time.sleep(0.05)


def _is_broker(pid: int, folder: Path) -> bool:
    """Whether this process is the broker of this folder: ids are given anew to others."""
    command = ["ps", "-ww", "-p", str(pid), "-o", "args="]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return "kafka.Kafka" in told.stdout and str(folder.absolute() / "server.properties") in told.stdout
