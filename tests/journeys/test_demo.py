"""The told journey is a test as well: it is told twice in a freshly made demo city."""

from __future__ import annotations

import io

import pytest

from services import demo, demo_data
from shared.settings import Settings
from tests.ground import Databases, session_client
from tests.journeys.town import town


@pytest.mark.parametrize("language", ["zh", "both"])
async def test_the_demo_tells_a_whole_journey_and_can_be_told_again(
    databases: Databases, language: str
) -> None:
    async with town(databases) as it:
        settings = Settings.model_validate(
            {"gateway_database_url": it.running("gateway").database.url, "sandbox": True}
        )
        await demo_data.seed(it.city.gateway, settings)
        await demo_data.seed(it.city.gateway, settings)
        told = io.StringIO()
        async with session_client(it.city.gateway, {}) as client:
            for _ in range(2):
                await demo.story(demo.Teller(client, language, told))
        assert told.getvalue().count("R-40") >= 2
        assert "3029516.67" in told.getvalue() or "损失" in told.getvalue()
