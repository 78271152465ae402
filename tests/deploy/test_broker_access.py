"""`deploy/broker/` on a real Kafka, as the container runs it: its configuration, its accounts, who may what.

Only where things lie is different: ports of this machine, a temporary folder, and Kafka's programs as the
classes they start.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka.errors import KafkaError

from deploy.kafka.broker import die_with_parent
from deploy.kafka.configuration import free_port
from deploy.kafka.jars import LIBS, java
from deploy.kafka.knock import answers
from services.city import SERVICES
from shared.bus import Outgoing
from shared.kafka_bus import Connection, KafkaBus
from shared.measures.weave import ROOT
from tests.kafka import require_kafka

pytestmark = [
    pytest.mark.kafka,
    # A refused client leaves aiokafka's own sockets to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SCRIPTS = ROOT / "deploy" / "broker"
PROGRAMS = {
    "kafka-storage.sh": "kafka.tools.StorageTool",
    "kafka-server-start.sh": "kafka.Kafka",
    "kafka-configs.sh": "org.apache.kafka.tools.ConfigCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
}
OPERATOR = "the operator's"
START_SECONDS = 60


@dataclass
class Container:
    """The broker's container, and the one that sets accounts and grants."""

    folder: Path
    port: int

    def environment(self, **own: str) -> dict[str, str]:
        passwords = {f"{name.upper()}_KAFKA_PASSWORD": f"of {name}" for name in SERVICES}
        told = {
            "PATH": os.environ["PATH"],
            "KAFKA_PROGRAMS": str(self.folder),
            "BROKER_CONFIG": str(self.folder / "server.properties"),
            "KAFKA_CLUSTER_ID": "0123456789abcdef01234A",
            "KAFKA_OPERATOR_PASSWORD": OPERATOR,
            "KAFKA_SERVER": f"127.0.0.1:{self.port}",
        }
        return told | passwords | own

    def write(self) -> None:
        for name, main in PROGRAMS.items():
            program = self.folder / name
            flags = f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m -cp '{LIBS}/*'"
            program.write_text(
                f"#!/bin/sh\nexec {java()} {flags} "
                f'-Dlog4j2.configurationFile={SCRIPTS / "log4j2.properties"} {main} "$@"\n'
            )
            program.chmod(0o755)
        config = (SCRIPTS / "server.properties").read_text("utf-8")
        places = {
            "/var/lib/kafka/data": str(self.folder / "data"),
            "INSIDE://:9092": f"INSIDE://127.0.0.1:{self.port}",
            "INSIDE://kafka:9092": f"INSIDE://127.0.0.1:{self.port}",
            "localhost:9093": f"localhost:{free_port()}",
            "localhost:9094": f"localhost:{free_port()}",
        }
        for there, here in places.items():
            assert there in config
            config = config.replace(there, here)
        (self.folder / "server.properties").write_text(config, "utf-8")

    def access(self, *services: str, **own: str) -> None:
        done = subprocess.run(
            [SCRIPTS / "access.sh", *services],
            env=self.environment(**own),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def bus(self, user: str, password: str | None = None) -> KafkaBus:
        told = password or (OPERATOR if user == "operator" else f"of {user}")
        return KafkaBus(Connection(f"127.0.0.1:{self.port}", "SASL_PLAINTEXT", user, told, partitions=2))


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    require_kafka()
    it = Container(tmp_path_factory.mktemp("broker"), free_port())
    it.write()
    log = it.folder / "log"
    with log.open("wb") as out:
        broker = subprocess.Popen(
            [SCRIPTS / "start.sh"], env=it.environment(), stdout=out, stderr=out, preexec_fn=die_with_parent()
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            local = (it.folder / "server.properties").read_text("utf-8").split("LOCAL://localhost:")[1]
            while not answers(int(local.split()[0].split(",")[0]), 1.0):
                assert broker.poll() is None, log.read_text("utf-8")[-3000:]
                assert time.monotonic() < deadline, log.read_text("utf-8")[-3000:]
            it.access()
            yield it
        finally:
            broker.terminate()
            broker.wait(30)


def fact(topic: str) -> Outgoing:
    return Outgoing(topic, "loan", uuid4(), "LoanFiled", datetime.now(UTC), None, b"{}")


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_makes_the_topics_writes_its_facts_and_hears_the_others(
    container: Container, name: str
) -> None:
    operator, own = container.bus("operator"), container.bus(name)
    await own.start()
    sent = fact(f"kechuang.{name}")
    await own.publish([sent])
    hears = SERVICES[name].hears
    heard = [fact(topic) for topic in hears]
    await operator.publish(heard)
    subscription = await own.subscribe(name, hears)
    wanted = {record.event_id for record in heard}
    async with asyncio.timeout(30):
        while wanted:
            records = await subscription.poll(100, 1.0)
            await subscription.commit(records)
            wanted -= {record.event_id for record in records}
    assert (await subscription.place()).committed > 0
    await subscription.close()
    await own.close()
    await operator.close()


@pytest.mark.parametrize("name", SERVICES)
async def test_no_service_writes_in_another_s_name(container: Container, name: str) -> None:
    bus = container.bus(name)
    await bus.start()
    for other in SERVICES:
        if other != name:
            with pytest.raises(KafkaError, match="uthoriz"):
                await bus.publish([fact(f"kechuang.{other}")])
    await bus.close()


async def test_what_a_service_does_not_hear_it_may_not_read(container: Container) -> None:
    bus = container.bus("compensation")
    await bus.start()
    subscription = await bus.subscribe("compensation", ["kechuang.roster"])
    with pytest.raises(KafkaError, match="uthoriz"):
        await subscription.poll(1, 10.0)
    await subscription.close()
    await bus.close()


async def test_no_service_moves_another_s_place(container: Container) -> None:
    bus = container.bus("lending")
    await bus.start()
    with pytest.raises(KafkaError, match="GroupAuthorization"):
        await bus.subscribe("roster", ["kechuang.compensation"])
    await bus.close()


async def test_nobody_comes_in_without_a_name_or_with_a_wrong_password(container: Container) -> None:
    with pytest.raises(KafkaError):
        await KafkaBus(Connection(f"127.0.0.1:{container.port}")).start()
    with pytest.raises(KafkaError):
        await container.bus("roster", "another").start()


async def test_a_password_is_changed_by_setting_access_again(container: Container) -> None:
    container.access("gateway", GATEWAY_KAFKA_PASSWORD="a new one")
    bus = container.bus("gateway", "a new one")
    await bus.start()
    await bus.publish([fact("kechuang.gateway")])
    await bus.close()
    with pytest.raises(KafkaError):
        await container.bus("gateway").start()
