"""The broker that tests and developers run: what the other Kafka tests rely on is true."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError

from deploy.kafka import jars
from deploy.kafka.broker import PASSWORD, USER, Broker, NoBroker, StartFailed
from deploy.kafka.certificates import make_certificates
from deploy.kafka.configuration import HIGHEST_PORT, LOWEST_PORT, Ports
from deploy.kafka.knock import answers
from tests.kafka import require_kafka

CHECKOUT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "deploy.kafka.broker")


def plain(broker: Broker) -> dict[str, Any]:
    return {"bootstrap_servers": broker.servers}


def secure(broker: Broker, password: str = PASSWORD, ca_file: Path | None = None) -> dict[str, Any]:
    return {
        "bootstrap_servers": broker.secure_servers,
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=ca_file or broker.ca_file),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": USER,
        "sasl_plain_password": password,
    }


@asynccontextmanager
async def admin(options: dict[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**options)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


async def make(options: dict[str, Any]) -> TopicPartition:
    """A new topic of one partition."""
    name = f"t-{uuid4()}"
    async with admin(options) as client:
        made = await client.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    assert [error for _, error, *_ in made.topic_errors] == [0]
    return TopicPartition(name, 0)


async def produce(options: dict[str, Any], partition: TopicPartition, *values: bytes) -> None:
    async with AIOKafkaProducer(**options, acks="all", enable_idempotence=True) as producer:
        for value in values:
            await producer.send_and_wait(partition.topic, value)


async def consume(options: dict[str, Any], partition: TopicPartition, count: int) -> list[bytes]:
    """The first `count` values of the topic, read by a new group."""
    async with AIOKafkaConsumer(
        partition.topic, **options, group_id=str(uuid4()), auto_offset_reset="earliest"
    ) as consumer:
        async with asyncio.timeout(30):
            return [(await consumer.getone()).value for _ in range(count)]


@pytest.mark.kafka
async def test_what_is_produced_is_consumed(broker: Broker) -> None:
    topic = await make(plain(broker))
    await produce(plain(broker), topic, b"filed", b"repaid")
    assert await consume(plain(broker), topic, 2) == [b"filed", b"repaid"]


@pytest.mark.kafka
async def test_what_is_produced_over_tls_with_scram_is_consumed(broker: Broker) -> None:
    topic = await make(secure(broker))
    await produce(secure(broker), topic, b"filed", b"repaid")
    assert await consume(secure(broker), topic, 2) == [b"filed", b"repaid"]


@pytest.mark.kafka
async def test_a_wrong_password_is_refused(broker: Broker) -> None:
    async with admin(secure(broker)):
        pass
    with pytest.raises(KafkaConnectionError):
        async with admin(secure(broker, password="wrong")):
            pass


@pytest.mark.kafka
async def test_a_client_that_trusts_another_authority_does_not_connect(
    broker: Broker, tmp_path: Path
) -> None:
    make_certificates(tmp_path / "ca.pem", tmp_path / "server.pem")
    with pytest.raises(KafkaConnectionError):
        async with admin(secure(broker, ca_file=tmp_path / "ca.pem")):
            pass


@pytest.mark.kafka
def test_the_secure_listener_answers_nothing_without_tls(broker: Broker) -> None:
    assert answers(broker.ports.plain, 1.0)
    assert not answers(broker.ports.secure, 1.0)


@pytest.mark.kafka
async def test_a_topic_nobody_made_is_not_made_by_asking_for_it(broker: Broker) -> None:
    name = f"never-{uuid4()}"
    async with admin(plain(broker)) as client:
        told = await client.describe_topics([name])
        assert [topic["error_code"] for topic in told] == [3]  # UNKNOWN_TOPIC_OR_PARTITION
        assert name not in await client.list_topics()


@pytest.mark.kafka
async def test_after_kill_9_the_data_is_there_on_the_same_port(own_broker: Broker) -> None:
    topic = await make(plain(own_broker))
    await produce(plain(own_broker), topic, b"filed")
    servers = own_broker.servers
    own_broker.kill()
    assert not own_broker.answers()
    own_broker.start()
    assert own_broker.servers == servers
    await produce(plain(own_broker), topic, b"repaid")
    assert await consume(plain(own_broker), topic, 2) == [b"filed", b"repaid"]


@pytest.mark.kafka
async def test_a_restarted_broker_takes_a_new_topic_at_once(own_broker: Broker) -> None:
    first = own_broker.pid
    for _ in range(2):
        own_broker.restart()
        await make(plain(own_broker))
    assert own_broker.pid not in (None, first)


@pytest.mark.kafka
async def test_another_process_finds_the_folder_with_its_ports_and_data(own_broker: Broker) -> None:
    topic = await make(plain(own_broker))
    await produce(plain(own_broker), topic, b"filed")
    own_broker.stop()
    with Broker(own_broker.folder, secure=True) as again:
        assert again.servers == own_broker.servers
        assert await consume(secure(again), topic, 1) == [b"filed"]


@pytest.mark.kafka
def test_a_paused_broker_keeps_connections_and_answers_nothing_until_resumed(own_broker: Broker) -> None:
    own_broker.pause()
    assert not own_broker.answers(limit_seconds=0.3)
    own_broker.resume()
    assert own_broker.answers(limit_seconds=10)
    own_broker.pause()
    own_broker.stop()
    assert own_broker.pid is None


@pytest.mark.kafka
def test_a_broker_that_cannot_start_says_why_and_harms_nobody(own_broker: Broker, tmp_path: Path) -> None:
    same_folder = Broker(own_broker.folder)
    with pytest.raises(StartFailed, match="a broker runs in"):
        same_folder.start()
    same_port = Broker(tmp_path / "another", own_broker.port)
    with pytest.raises(StartFailed, match=f"listens on port {own_broker.port} already"):
        same_port.start()
    assert (same_folder.pid, same_port.pid) == (None, None)
    assert own_broker.answers()


@pytest.mark.kafka
def test_a_broker_that_ends_while_starting_is_told_with_its_log(own_broker: Broker) -> None:
    own_broker.stop()
    (own_broker.folder / "data" / "meta.properties").write_text("version=1\nnode.id=2\n", "ascii")
    with pytest.raises(StartFailed, match=r"ended with 1: [\s\S]*No readable meta\.properties"):
        own_broker.start()
    assert own_broker.pid is None


@pytest.mark.kafka
@pytest.mark.skipif(sys.platform != "linux", reason="dying with the parent is Linux's PR_SET_PDEATHSIG")
def test_the_broker_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    require_kafka()
    owner = subprocess.Popen(
        [*COMMAND, "run", "--folder", str(tmp_path), "--port", "0"],
        cwd=CHECKOUT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert owner.stdout is not None
    with owner.stdout:
        assert "Kafka on 127.0.0.1:" in owner.stdout.readline()
    jvm = int((tmp_path / "broker.pid").read_text("ascii"))
    ended = os.pidfd_open(jvm)
    try:
        assert select.select([ended], [], [], 0)[0] == []
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert select.select([ended], [], [], 20)[0] == [ended]
    finally:
        os.close(ended)


@pytest.mark.kafka
def test_the_command_runs_a_broker_until_it_is_told_to_stop(tmp_path: Path) -> None:
    require_kafka()
    folder = ("--folder", str(tmp_path / "kafka"))
    subprocess.run([*COMMAND, "format", *folder, "--port", "0"], cwd=CHECKOUT, check=True)
    assert (tmp_path / "kafka" / "data" / "meta.properties").exists()
    running = subprocess.Popen(
        [*COMMAND, "run", *folder, "--port", "0", "--secure"],
        cwd=CHECKOUT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    with running.stdout:
        said = running.stdout.readline() + running.stdout.readline()
        assert "Kafka on 127.0.0.1:" in said
        assert "SASL_SSL on localhost:" in said
        subprocess.run([*COMMAND, "stop", *folder], cwd=CHECKOUT, check=True)
    assert running.wait(30) == 0
    again = subprocess.run(
        [*COMMAND, "stop", *folder], cwd=CHECKOUT, check=False, capture_output=True, text=True
    )
    assert again.returncode == 1
    assert "none runs in" in again.stderr


# What can be known without a broker.


def java_that_says(folder: Path, version: str) -> None:
    """Put a `java` of this version, and nothing else, into the folder."""
    script = folder / "java"
    script.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n", "ascii")
    script.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH; empty. And no jars are there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(jars, "LIBS", tmp_path / "libs")
    return tmp_path


def test_without_java_the_reason_is_told(bare: Path) -> None:
    assert "no Java found" in (jars.available() or "")


@pytest.mark.parametrize(("version", "told"), [("11.0.2", "Java 11;"), ("1.8.0_292", "Java 8;")])
def test_an_old_java_is_not_enough(bare: Path, version: str, told: str) -> None:
    java_that_says(bare, version)
    assert told in (jars.available() or "")


def test_a_java_that_does_not_run_is_told(bare: Path) -> None:
    (bare / "java").write_text("#!/bin/sh\nexit 1\n", "ascii")
    (bare / "java").chmod(0o755)
    assert "does not run" in (jars.available() or "")


def test_maven_is_needed_only_while_the_jars_are_missing_or_of_another_pom(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java_that_says(bare, "17.0.15")
    assert "no Maven" in (jars.available() or "")
    jars.LIBS.mkdir()
    (jars.LIBS / "pom.sha256").write_text(jars._pom_digest(), "ascii")
    assert jars.available() is None
    monkeypatch.setattr(jars, "POM", bare / "pom.xml")
    (bare / "pom.xml").write_text("<project/>", "ascii")
    assert "no Maven" in (jars.available() or "")


def test_when_maven_fails_the_reason_is_told_and_no_half_is_left(bare: Path) -> None:
    java_that_says(bare, "21")
    (bare / "mvn").write_text("#!/bin/sh\necho 'no way to the repository'; exit 1\n", "ascii")
    (bare / "mvn").chmod(0o755)
    with pytest.raises(NoBroker, match="no way to the repository"):
        jars.resolve()
    assert not jars.resolved()


def test_kafka_tests_are_skipped_with_the_reason_or_fail_where_kafka_is_required(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KECHUANG_REQUIRE_KAFKA", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Java found"):
        require_kafka()
    monkeypatch.setenv("KECHUANG_REQUIRE_KAFKA", "1")
    with pytest.raises(pytest.fail.Exception, match="no Java found"):
        require_kafka()


def test_a_folder_keeps_its_ports_and_they_lie_below_those_of_outgoing_connections(tmp_path: Path) -> None:
    ports = Ports.of(tmp_path, 0, secure=True)
    assert len({ports.plain, ports.controller, ports.secure}) == 3
    assert all(LOWEST_PORT <= p <= HIGHEST_PORT for p in (ports.plain, ports.controller, ports.secure))
    ports.keep(tmp_path)
    assert Ports.of(tmp_path, 0, secure=True) == ports
    assert Ports.of(tmp_path, 9092, secure=True) == Ports(9092, ports.controller, ports.secure)
    assert Broker(tmp_path).ports.secure == 0
