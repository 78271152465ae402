"""The broker's ports and its `server.properties`: one node that is broker and controller (KRaft)."""

from __future__ import annotations

import json
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

LOWEST_PORT, HIGHEST_PORT = 15_000, 31_999
"""Below the ports a system hands out to outgoing connections: a client that keeps knocking while the
broker is away could else be given the broker's own port, connect to itself and hold it."""


@dataclass(frozen=True)
class Ports:
    """Where one broker listens on this machine; `secure` is 0 without a SASL_SSL listener."""

    plain: int
    controller: int
    secure: int

    @classmethod
    def of(cls, folder: Path, plain: int, secure: bool) -> Ports:
        """The ports of the broker in `folder`: those it had, but for a `plain` that is asked for (not
        0); new free ones for a new broker."""
        kept = folder / "ports.json"
        had = cls(**json.loads(kept.read_text("ascii"))) if kept.exists() else cls(0, 0, 0)
        return cls(
            plain or had.plain or free_port(),
            had.controller or free_port(),
            (had.secure or free_port()) if secure else 0,
        )

    def keep(self, folder: Path) -> None:
        (folder / "ports.json").write_text(json.dumps(asdict(self)), "ascii")


def free_port() -> int:
    """A port nobody listens on now."""
    while True:
        port = LOWEST_PORT + secrets.randbelow(HIGHEST_PORT - LOWEST_PORT + 1)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def properties(ports: Ports, data: Path, server_file: Path) -> str:
    """The text of `server.properties`."""
    listeners = {
        "PLAINTEXT": f"127.0.0.1:{ports.plain}",
        "CONTROLLER": f"127.0.0.1:{ports.controller}",
    }
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{ports.controller}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "num.network.threads": "2",
        "num.io.threads": "2",
        "log.cleaner.dedupe.buffer.size": "4194304",
    }
    if ports.secure:
        listeners["SECURE"] = f"localhost:{ports.secure}"
        protocols["SECURE"] = "SASL_SSL"
        lines |= _secured(server_file)
    at = {name: f"{name}://{address}" for name, address in listeners.items()}
    lines |= {
        "listeners": ",".join(at.values()),
        "advertised.listeners": ",".join(where for name, where in at.items() if name != "CONTROLLER"),
        "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
    }
    return "".join(f"{name}={value}\n" for name, value in (lines | _for_one_node()).items())


def _for_one_node() -> dict[str, str]:
    """Kafka's own topics have one copy and few partitions; a group forms at once; after kill -9 the
    controller waits 3 s, not 9, for the broker that is dead before it lets the new one in."""
    return {
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "3",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "3",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
    }


def _secured(server_file: Path) -> dict[str, str]:
    return {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server_file),
        "listener.name.secure.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }
