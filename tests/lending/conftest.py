"""Lending alone on the real bus; roster and compensation are played by the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from services.lending.app import SERVICE
from tests.ground import Databases, alone
from tests.lending.town import Town


@pytest_asyncio.fixture
async def town(databases: Databases) -> AsyncIterator[Town]:
    """A running lending service that has heard of two enterprises, two banks and a guarantor."""
    async with alone(databases, SERVICE) as it:
        town = Town(it)
        await town.settle_in()
        yield town
