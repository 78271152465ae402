"""Compensation alone on the real bus; lending is played by the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from services.compensation.app import SERVICE
from tests.compensation.town import Town
from tests.ground import Databases, alone


@pytest_asyncio.fixture
async def town_with_any_books(databases: Databases) -> AsyncIterator[Town]:
    """A running compensation service whose fund is still empty."""
    async with alone(databases, SERVICE) as it:
        yield Town(it)


@pytest_asyncio.fixture
async def town(town_with_any_books: Town) -> AsyncIterator[Town]:
    """The same; after every test its books agree with its claims."""
    yield town_with_any_books
    assert await town_with_any_books.faults() == []
