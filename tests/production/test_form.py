"""The production form is what `docker-compose.yml` says: who gets in where, and one clock for everybody."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from services import demo_data
from services.city import SERVICES
from shared.database import plain_url
from tests.ground import eventually
from tests.production.ground import NAMES, Production
from tests.production.town import town

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("role", NAMES)
async def test_a_service_opens_its_own_database_and_no_other(form: Production, role: str) -> None:
    password = form.env[f"{role.upper()}_DATABASE_PASSWORD"]
    own = await asyncpg.connect(plain_url(form.postgres.url(role, role, password)))
    assert await own.fetchval("SELECT current_user") == role
    assert await own.fetchval("SHOW data_checksums") == "on"
    await own.close()
    for other in {*NAMES, "postgres"} - {role}:
        with pytest.raises(asyncpg.PostgresError):
            await asyncpg.connect(plain_url(form.postgres.url(other, role, password)))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(plain_url(form.postgres.url(role, role, "guessed")))


async def test_every_service_is_a_process_of_its_own_and_ready(
    form: Production,
) -> None:
    assert {replica.name: len(form.replicas[replica.name]) for replica in form.everybody} == {
        name: 2 if name == "lending" else 1 for name in SERVICES
    }
    assert len({replica.process.pid for replica in form.everybody}) == 5
    for replica in form.everybody:
        assert (await replica.readiness())["status"] == "ready"


async def test_where_there_are_accounts_no_first_one_is_made(form: Production) -> None:
    status, told = await form.tool("first-account", "second", words=demo_data.PASSWORD)
    assert status == 1
    assert "accounts already" in told


async def test_the_clock_moves_in_every_process_and_a_restarted_one_keeps_it(form: Production) -> None:
    async with town(form) as it:
        moved = it.today() + timedelta(days=3)
        await it.move_to(moved)

        async def everywhere() -> bool:
            days = [(await replica.readiness()).get("day") for replica in form.everybody]
            return days == [moved.isoformat()] * len(days)

        await eventually(everywhere, "the moved day in every process")
        for replica in (form.replicas["lending"][0], form.replicas["gateway"][0]):
            assert await replica.stop() == 0
            await replica.start()
        await form.all_ready()
        for replica in form.everybody:
            assert (await replica.readiness())["day"] == moved.isoformat(), replica.name
        await it.move_to(moved + timedelta(days=1))
