"""The toy service, alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared import service as skeleton
from tests.ground import Alone, Databases, alone
from tests.shared import toy


@pytest.fixture
def toy_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.identity.permissions", lambda: toy.PERMISSIONS)
    monkeypatch.setattr(skeleton, "permissions", lambda: toy.PERMISSIONS)


@pytest.fixture
async def it(databases: Databases, toy_permissions: None) -> AsyncIterator[Alone]:
    async with alone(databases, toy.SERVICE) as running:
        yield running
