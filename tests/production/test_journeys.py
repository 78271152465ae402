"""The journeys once more, on the production form: the told one, and random whole histories."""

from __future__ import annotations

import io

import httpx
import pytest

from services import demo
from tests.journeys.test_histories import histories
from tests.production.ground import Production
from tests.production.town import town

pytestmark = pytest.mark.kafka


async def test_the_demo_is_told_on_the_production_form(form: Production) -> None:
    told = io.StringIO()
    async with httpx.AsyncClient(base_url=form.url, timeout=60, trust_env=False) as client:
        await demo.story(demo.Teller(client, "en", told))
    assert told.getvalue().count("R-40") >= 1
    assert "That was the whole journey" in told.getvalue()


async def test_r48_r42_r60_histories_keep_every_sum_on_the_production_form(form: Production) -> None:
    async with town(form) as it:
        ended = await histories(it, 5)
    assert sum(ended.values()) == 5
    assert set(form.balancer.served) == {replica.port for replica in form.replicas["lending"]}, (
        "a replica of lending served nobody"
    )
