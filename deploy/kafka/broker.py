"""A single-node Apache Kafka broker (KRaft) without Docker, from the jars `pom.xml` resolves.

    python -m deploy.kafka.broker FOLDER [PORT]    run one until Ctrl-C

Tests use `Broker`: start, kill -9, restart on the same folder and port, pause and resume. Listeners:
PLAINTEXT, and with `secure=True` also SASL_SSL with SCRAM-SHA-512 under a certificate made on the spot.
"""

from __future__ import annotations

import ctypes
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

HERE = Path(__file__).parent
LIBS = HERE / "target" / "libs"
CLUSTER_ID = "kechuang-tests-cluster"[:22]
START_SECONDS = 60.0
JVM = ("-Xms256m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
USER, PASSWORD = "kechuang", "only-for-tests"


class NoBroker(Exception):
    """A broker cannot be had here; the message says what is missing."""


def available() -> str | None:
    """None when a broker can be started here, else what is missing."""
    if shutil.which("java") is None:
        return "no Java on the PATH (Java 17 or later)"
    if not _resolved() and shutil.which("mvn") is None:
        return "no Maven on the PATH to fetch the broker's jars"
    return None


def _resolved() -> bool:
    return any(LIBS.glob("kafka_2.13-*.jar"))


def resolve() -> None:
    """Fetch the jars when they are not there yet."""
    if _resolved():
        return
    if why := available():
        raise NoBroker(why)
    done = subprocess.run(  # noqa: S603
        ["mvn", "-q", "-B", "package", "-f", str(HERE / "pom.xml")],  # noqa: S607
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise NoBroker(f"Maven could not fetch the broker: {(done.stdout + done.stderr)[-500:]}")


class Broker:
    """One broker whose state lies in `folder`; listens on 127.0.0.1 only."""

    def __init__(self, folder: Path, *, port: int = 0, secure: bool = False) -> None:
        self.folder = folder.absolute()
        self.port = port or _free_port()
        self.controller_port = _free_port()
        self.secure_port = _free_port() if secure else 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def secure_servers(self) -> str:
        return f"localhost:{self.secure_port}"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    def start(self) -> None:
        """Format the folder if it is new, start, and wait until the broker takes connections."""
        resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.properties"
        if not (self.folder / "data" / "meta.properties").exists():
            if self.secure_port:
                _make_certificate(self.folder)
            config.write_text(self._properties(), "utf-8")
            self._format(config)
        self._process = self._java("kafka.Kafka", str(config))
        self._await_ready()

    def _await_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not _listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NoBroker(f"the broker did not start: {self.log.read_text('utf-8', 'replace')[-800:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop orderly."""
        self._end(signal.SIGTERM, 30)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL, 10)

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop answering without closing connections."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, kind: signal.Signals, limit: float) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(kind)
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def _format(self, config: Path) -> None:
        arguments = ["format", "-t", CLUSTER_ID, "-c", str(config), "--standalone"]
        if self.secure_port:
            arguments += ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
        process = self._java("kafka.tools.StorageTool", *arguments)
        if process.wait(60) != 0:
            raise NoBroker(f"formatting failed: {self.log.read_text('utf-8', 'replace')[-800:]}")

    def _java(self, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        logging = f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"
        command = ["java", *JVM, logging, "-cp", f"{LIBS}/*", main, *arguments]
        with open(self.log, "ab") as log:
            return subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                start_new_session=True, preexec_fn=_die_with_parent(),
            )  # fmt: skip

    def _properties(self) -> str:
        listeners = [f"PLAINTEXT://127.0.0.1:{self.port}", f"CONTROLLER://127.0.0.1:{self.controller_port}"]
        advertised = [f"PLAINTEXT://127.0.0.1:{self.port}"]
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "3",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "num.network.threads": "2",
            "num.io.threads": "2",
            "log.cleaner.dedupe.buffer.size": "4194304",
        }
        protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"
        if self.secure_port:
            listeners.append(f"SECURE://localhost:{self.secure_port}")
            advertised.append(f"SECURE://localhost:{self.secure_port}")
            protocols += ",SECURE:SASL_SSL"
            lines |= {
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.folder / "server.pem"),
                "listener.name.secure.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
            }
        lines |= {
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": protocols,
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items())


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    return ask


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _make_certificate(folder: Path) -> None:
    """A self-signed certificate for localhost: its own authority (`ca.pem`) and the broker's key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(pem)
    server = folder / "server.pem"
    server.touch(mode=0o600)
    server.write_bytes(private + pem)


def main() -> None:
    broker = Broker(Path(sys.argv[1]), port=int(sys.argv[2]) if len(sys.argv) > 2 else 9092)
    broker.start()
    print(f"Kafka listens on {broker.servers}; log in {broker.log}; Ctrl-C stops it", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        broker.stop()


if __name__ == "__main__":
    main()
