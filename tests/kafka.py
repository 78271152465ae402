"""A real Apache Kafka broker for the tests that need one; see `deploy/kafka/`.

Without Java and Maven these tests are skipped with the reason, which the end of the run repeats; with
KECHUANG_REQUIRE_KAFKA set (as in CI) they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deploy.kafka.broker import Broker, available


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the run, with a PLAINTEXT and a SASL_SSL listener."""
    if why := available():
        if os.environ.get("KECHUANG_REQUIRE_KAFKA"):
            pytest.fail(f"a real Kafka is required here: {why}")
        pytest.skip(f"no real Kafka here: {why}")
    running = Broker(tmp_path_factory.mktemp("kafka"), secure=True)
    running.start()
    yield running
    running.stop()
