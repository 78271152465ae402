"""The gateway before two made-up services."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateway.gate import Gate, gate
from tests.ground import Databases


@pytest.fixture(scope="session")
async def unchanged(databases: Databases) -> AsyncIterator[Gate]:
    """One for all tests that change nothing."""
    async with gate(databases) as running:
        yield running


@pytest.fixture
async def it(databases: Databases) -> AsyncIterator[Gate]:
    async with gate(databases) as running:
        yield running
