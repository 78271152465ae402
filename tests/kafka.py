"""A real Apache Kafka broker for the tests that need one; see `deploy/kafka/`.

Where none can be had (no Java, no Maven, no way to fetch the jars) these tests are skipped with the
reason, which the end of the run repeats; with KECHUANG_REQUIRE_KAFKA set (as in CI) they fail instead.
A broker that is there and does not start is a failure everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.broker import Broker, NoBroker, resolve


def require_kafka() -> None:
    """Return when a broker can be started here, having fetched its jars; else skip or fail."""
    try:
        resolve()
    except NoBroker as why:
        if os.environ.get("KECHUANG_REQUIRE_KAFKA"):
            pytest.fail(f"a real Kafka is required here: {why}", pytrace=False)
        pytest.skip(f"no real Kafka here: {why}")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the run, with a PLAINTEXT and a SASL_SSL listener. Not to be hurt: use topics and
    groups of your own."""
    require_kafka()
    with Broker(tmp_path_factory.mktemp("kafka"), secure=True) as running:
        yield running


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, which it may kill, pause and restart."""
    require_kafka()
    with Broker(tmp_path / "kafka") as running:
        yield running
