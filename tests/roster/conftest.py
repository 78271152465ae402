"""Roster alone on the real bus; lending and compensation are played by the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from services.roster.app import SERVICE
from tests.ground import Databases, alone
from tests.roster.town import Town


@pytest_asyncio.fixture
async def town(databases: Databases) -> AsyncIterator[Town]:
    """A running roster service that knows nobody yet."""
    async with alone(databases, SERVICE) as it:
        yield Town(it)
