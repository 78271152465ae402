"""One production form for the run. Not to be hurt: what kills has one of its own (`tests/faults`)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conftest import open_folder
from tests.kafka import require_kafka
from tests.production.ground import Production, production


@pytest.fixture(scope="session")
async def form() -> AsyncIterator[Production]:
    require_kafka()
    with open_folder() as folder:
        async with production(folder) as running:
            yield running
