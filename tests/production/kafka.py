"""The file's broker: `deploy/broker/start.sh` on `server.properties`, with the accounts and the grants that
`access.sh` asks for.

The scripts call Kafka's own programs. `access.sh` calls them a dozen times, each a Java of its own; here what
it asks is written down, the accounts are made when the volume is formatted, and the grants over the broker's
protocol, in a second for half a minute (`tests/deploy/test_broker_access.py` runs the programs themselves).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from deploy.kafka.jars import LIBS, java
from deploy.kafka.knock import answers
from shared.kafka_bus import Connection
from tests.faults.process import Process
from tests.ground import eventually
from tests.production.compose import Container
from tests.production.container import plain
from tests.production.places import HERE, Places

START_SECONDS = 120.0
JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"
PROGRAMS: Mapping[str, str] = {
    "kafka-storage.sh": 'exec {java} {jvm} kafka.tools.StorageTool "$@" $(cat {asked}/accounts)',
    "kafka-server-start.sh": 'exec {java} {jvm} $KAFKA_HEAP_OPTS $KAFKA_LOG4J_OPTS kafka.Kafka "$@"',
    "kafka-configs.sh": "printf '%s\\n' \"$@\" '' >> {asked}/configs",
    "kafka-acls.sh": "printf '%s\\n' \"$@\" '' >> {asked}/acls",
}
SOONER = "\nbroker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n"
"""After kill -9 the controller waits 3 s, not 9, for the dead broker before it lets the new one in."""
TOPIC, GROUP = 2, 3
LITERAL, ALLOW = 3, 3
OPERATIONS: Mapping[str, int] = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8}
"""Numbers of Kafka's protocol (AclOperation, ResourceType, PatternType, AclPermissionType)."""


class Kafka:
    """The broker's container."""

    def __init__(self, broker: Container, access: Container, places: Places) -> None:
        self.places = places
        self.operator_password = broker.environment["KAFKA_OPERATOR_PASSWORD"]
        self._asked = places.folder / "asked-of-kafka"
        self._asked.mkdir()
        own = self._scripts(places.folder / "programs")
        config = places.folder / "deploy" / "broker" / "server.properties"
        config.write_text(places.here(config.read_text("utf-8")) + SOONER, "utf-8")
        self._access = self._process(access, own)
        self._broker = self._process(broker, own)

    def _scripts(self, folder: Path) -> dict[str, str]:
        folder.mkdir()
        for name, words in PROGRAMS.items():
            body = words.format(java=java(), jvm=f"{JVM} -cp '{LIBS}/*'", asked=self._asked)
            (folder / name).write_text(f"#!/bin/sh\n{body}\n", "utf-8")
            (folder / name).chmod(0o755)
        return {"KAFKA_PROGRAMS": str(folder)}

    def _process(self, container: Container, own: dict[str, str]) -> Process:
        environment = plain() | self.places.environment(container.environment) | own
        return Process(tuple(map(self.places.here, container.entrypoint)), environment)

    @property
    def connection(self) -> Connection:
        """As the operator."""
        servers = f"{HERE}:{self.places.kafka}"
        return Connection(servers, "SASL_PLAINTEXT", "operator", self.operator_password)

    async def make(self) -> None:
        """The first start: accounts, the broker, the grants."""
        status, told = await self._access.run()
        assert status == 0, told
        accounts = [_account(asked) for asked in _asked(self._asked / "configs")]
        (self._asked / "accounts").write_text(" ".join(f"--add-scram {a}" for a in accounts), "utf-8")
        await self.start()
        await self._grant([row for asked in _asked(self._asked / "acls") for row in _grants(asked)])

    async def start(self) -> None:
        """Return when it takes part in its cluster."""
        await self._broker.start()

        async def at_work() -> bool:
            assert not self._broker.over.is_set(), "".join(self._broker.said)
            return await asyncio.to_thread(answers, self.places.kafka_local, 1.0)

        await eventually(at_work, "the broker", START_SECONDS)

    async def kill(self) -> None:
        await self._broker.end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._broker.end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop answering without closing a connection."""
        self._broker.send(signal.SIGSTOP)

    def resume(self) -> None:
        self._broker.send(signal.SIGCONT)

    async def _grant(self, rows: Sequence[tuple[Any, ...]]) -> None:
        admin = AIOKafkaAdminClient(**self.connection.options())
        await admin.start()
        try:
            for row in rows:
                answer = await admin._send_to_controller(CreateAclsRequest(*row))
                assert [error for error, _ in answer.creation_responses] == [0], answer
        finally:
            await admin.close()


def _asked(file: Path) -> list[list[str]]:
    """The calls written down, each as its arguments."""
    return [call.split("\n") for call in file.read_text("utf-8").rstrip("\n").split("\n\n")]


def _after(words: Sequence[str], name: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == name]


def _account(words: Sequence[str]) -> str:
    """`--entity-name NAME --add-config SCRAM-SHA-512=[password=P]` in the words of formatting."""
    [name], [config] = _after(words, "--entity-name"), _after(words, "--add-config")
    return config.replace("[", f"[name={name},")


def _grants(words: Sequence[str]) -> list[tuple[Any, ...]]:
    return [
        (kind, name, LITERAL, who, "*", OPERATIONS[operation], ALLOW)
        for who in _after(words, "--allow-principal")
        for operation in _after(words, "--operation")
        for kind, option in ((TOPIC, "--topic"), (GROUP, "--group"))
        for name in _after(words, option)
    ]
