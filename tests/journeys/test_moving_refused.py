"""When a move is not made, or not to its end: nothing of the source changes, nothing half done shows in the
target, and the same command goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.city import SERVICES
from services.moving import command, log, secret, tables
from services.moving.refusals import Refused
from services.moving.side import Side
from shared.bus import DeadLetter, Outgoing
from shared.database import new_id, plain_url
from shared.events import COMPENSATION, LENDING, ROSTER
from shared.migrate import SchemaTooNew
from shared.postgres_bus import PostgresBus
from shared.settings import Settings
from tests.ground import DAY, Databases, execute
from tests.journeys.test_moving import at_work, held

SECRET = "the secret of the source"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
AT = datetime(2026, 3, 2, 1, 2, 3, tzinfo=UTC)


async def side(databases: Databases, name: str, *, migrated: bool, **more: Any) -> Side:
    urls = {
        f"{service.name}_database_url": await databases.fresh(service if migrated else None, service.name)
        for service in SERVICES.values()
    }
    urls["bus_database_url"] = await databases.fresh(None, "bus")
    told = {**urls, "secret": SECRET, "sandbox": True, "database_pool": 6, **more}
    return Side(name, Settings.model_validate(told), None)


async def copy(databases: Databases, url: str, name: str) -> str:
    """The URL of a copy of a database nobody is connected to."""
    made = await databases.fresh(None, name)
    await databases.drop(made)
    old, new = (u.split("/", 3)[3].split("?")[0] for u in (url, made))
    admin = databases.postgres.url("postgres")
    await execute(admin, f'CREATE DATABASE "{new}" TEMPLATE "{old}" STRATEGY FILE_COPY')
    return made


def urls_of(one: Side) -> list[str]:
    return [one.settings.database_url(name) for name in (*SERVICES, "bus")]


@pytest.fixture(scope="module")
async def filled(databases: Databases) -> AsyncIterator[Side]:
    """An installation with a bank and money in the fund, stopped. Not to be changed: see `source`."""
    one = await side(databases, "source", migrated=True)
    async with at_work(one.settings, DAY) as it:
        await it.bank(1)
        finance = await it.finance()
        await finance.post("/v1/fund/appropriations", {"amount": "9000000.00", "document": "平财预1号"})
        await it.bus.publish([Outgoing(LENDING, "x", new_id(), "UnheardOf", AT, TRACE, b"{}")])
        await it.settle()
    yield one
    await databases.drop(*urls_of(one))


@pytest.fixture
async def source(filled: Side, databases: Databases) -> AsyncIterator[Side]:
    """A copy of it for one test."""
    copies = {}
    for url, name in zip(urls_of(filled), (*SERVICES, "bus"), strict=True):
        copies[f"{name}_database_url"] = await copy(databases, url, name)
    one = Side("source", filled.settings.model_copy(update=copies), None)
    yield one
    await databases.drop(*urls_of(one))


@pytest.fixture
async def target(databases: Databases) -> AsyncIterator[Side]:
    """Empty databases."""
    one = await side(databases, "target", migrated=False)
    yield one
    await databases.drop(*urls_of(one))


async def numbers_of(one: Side) -> dict[str, int | None]:
    """The last number of every sequence; None: it has given none yet."""
    found: dict[str, int | None] = {}
    for name in SERVICES:
        connection = await asyncpg.connect(plain_url(one.settings.database_url(name)))
        try:
            rows = await connection.fetch("SELECT sequencename, last_value FROM pg_sequences")
        finally:
            await connection.close()
        found |= {f"{name}.{row['sequencename']}": row["last_value"] for row in rows}
    return found


async def log_of(one: Side) -> dict[log.Key, log.Chain]:
    bus = PostgresBus(one.settings.bus_database_url)
    await bus.start()
    try:
        return (await log.read(bus)).chains
    finally:
        await bus.close()


async def test_every_row_and_record_arrives_and_numbers_go_on(source: Side, target: Side) -> None:
    before, told, at = await held(source), await log_of(source), await numbers_of(source)
    await command.move(source, target)
    assert await held(target) == before == await held(source)
    assert await numbers_of(target) == at
    assert at["compensation.fund_entry_id_seq"] == 1
    assert at["lending.loan_number"] is None
    assert await log_of(target) == told == await log_of(source)
    assert before["compensation.fund_entry"].rows == 1
    async with at_work(target.settings, DAY) as it:
        finance = await it.finance()
        await finance.post("/v1/fund/appropriations", {"amount": "1.00", "document": "平财预2号"})
        assert (await finance.get("/v1/fund"))["appropriated"] == "9000001.00"
        await it.settle()


async def test_repeated_after_its_end_it_finds_everything_there(source: Side, target: Side) -> None:
    await command.move(source, target)
    told = await log_of(target)
    await command.move(source, target)
    assert await held(target) == await held(source)
    assert await log_of(target) == told


async def test_the_source_must_be_stopped(source: Side, target: Side) -> None:
    async with at_work(source.settings, DAY) as it:
        await it.settle()
        with pytest.raises(Refused, match="is running: stop all services"):
            await command.move(source, target)
    assert await held(target) == {}


async def test_the_target_must_be_stopped(source: Side, target: Side) -> None:
    waiting = await asyncpg.connect(plain_url(target.settings.gateway_database_url))
    try:
        with pytest.raises(Refused, match="gateway of target is running"):
            await command.move(source, target)
    finally:
        await waiting.close()


async def test_a_target_with_data_is_refused_and_keeps_it(source: Side, target: Side) -> None:
    await command.move(source, target)
    changed = "UPDATE institution SET name = '别的银行'"
    await execute(target.settings.roster_database_url, changed)
    before = await held(target)
    with pytest.raises(Refused, match="roster's database of the target has data already"):
        await command.move(source, target)
    assert await held(target) == before


@pytest.mark.parametrize("wrong", ["another", ""])
async def test_another_secret_is_refused_before_anything_is_made(
    source: Side, databases: Databases, wrong: str
) -> None:
    target = await side(databases, "target", migrated=False, secret=wrong)
    with pytest.raises(Refused, match="KECHUANG_SECRET"):
        await command.move(source, target)
    assert await held(target) == {}
    await databases.drop(*urls_of(target))


async def test_a_secret_that_opens_no_key_is_refused_where_the_source_s_is_not_told(
    source: Side, databases: Databases
) -> None:
    target = await side(databases, "target", migrated=False, secret="another")
    untold = Side("source", source.settings.model_copy(update={"secret": ""}), None)
    with pytest.raises(Refused, match="does not open its signing keys"):
        await command.move(untold, target)
    assert await held(target) == {}
    await databases.drop(*urls_of(target))


async def test_a_source_of_a_newer_version_is_refused(source: Side, target: Side) -> None:
    newer = "UPDATE schema_own SET version_num = '0999'"
    await execute(source.settings.lending_database_url, newer)
    with pytest.raises(SchemaTooNew, match="lending"):
        await command.move(source, target)
    assert await held(target) == {}


async def test_a_target_of_a_newer_version_is_refused(source: Side, databases: Databases) -> None:
    target = await side(databases, "target", migrated=True)
    newer = "UPDATE schema_own SET version_num = '0999'"
    await execute(target.settings.lending_database_url, newer)
    with pytest.raises(SchemaTooNew, match="lending"):
        await command.move(source, target)
    await databases.drop(*urls_of(target))


async def test_a_source_that_was_never_brought_to_the_newest_schema_is_refused(
    source: Side, target: Side
) -> None:
    await execute(source.settings.lending_database_url, "DELETE FROM schema_own")
    with pytest.raises(Refused, match="first run python -m services migrate"):
        await command.move(source, target)


async def test_a_log_of_another_installation_is_not_mixed_in(source: Side, target: Side) -> None:
    bus = PostgresBus(target.settings.bus_database_url)
    await bus.start()
    await bus.publish([Outgoing(ROSTER, "x", new_id(), "InstitutionAdmitted", AT, None, b"{}")])
    await bus.close()
    with pytest.raises(Refused, match="not of this installation"):
        await command.move(source, target)
    assert (await held(target))["roster.institution"].rows == 0


async def test_a_log_that_is_not_whole_is_refused(source: Side, target: Side) -> None:
    await execute(source.settings.bus_database_url, "DELETE FROM log WHERE topic = 'kechuang.roster'")
    with pytest.raises(Refused, match="the log of the source is not whole"):
        await command.move(source, target)
    assert await log_of(target) == {}


# ── interrupted ──────────────────────────────────────────────────────────────────────────────────


class Killed(Exception):
    """The move ends here, as when its process is killed."""


def dies(work: Callable[..., Awaitable[Any]], after: int = 0) -> Callable[..., Awaitable[Any]]:
    """The same work, until it is asked for the time after `after` times."""
    left = after

    async def work_or_die(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return await work(*arguments)

    return work_or_die


POINTS: Sequence[tuple[object, str, int]] = [
    (tables, "_copy", 12),
    (tables, "carry", 3),
    (log, "publish", 0),
    (PostgresBus, "publish", 1),
    (log, "bury", 0),
]
"""Where it dies before the commit: what is called, and the how-manieth call is the last."""


@pytest.mark.parametrize(("place", "name", "after"), POINTS, ids=[f"{n}-{a}" for _, n, a in POINTS])
async def test_interrupted_it_shows_nothing_and_goes_on_when_repeated(
    source: Side, target: Side, monkeypatch: pytest.MonkeyPatch, place: object, name: str, after: int
) -> None:
    before = await held(source)
    with monkeypatch.context() as patched:
        patched.setattr(place, name, dies(getattr(place, name), after))
        with pytest.raises(Killed):
            await command.move(source, target)
    half = await held(target)
    assert {table for table, told in half.items() if told.rows} == {
        "compensation.fund",
        "lending.reference_rate",
    }
    assert await held(source) == before
    await command.move(source, target)
    assert await held(target) == before
    assert await log_of(target) == await log_of(source)


async def test_interrupted_between_the_commits_it_goes_on_with_the_rest(
    source: Side, target: Side, databases: Databases
) -> None:
    await command.move(source, target)
    await databases.drop(target.settings.lending_database_url)
    anew = {"lending_database_url": await databases.fresh(None, "lending")}
    rest = Side("target", target.settings.model_copy(update=anew), None)
    await command.move(source, rest)
    assert await held(rest) == await held(source)
    await databases.drop(rest.settings.lending_database_url)


async def test_interrupted_before_the_groups_are_put_it_puts_them_when_repeated(
    source: Side, target: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(log, "put_groups", dies(log.put_groups))
        with pytest.raises(Killed):
            await command.move(source, target)
    assert await held(target) == await held(source)
    await command.move(source, target)
    bus = PostgresBus(target.settings.bus_database_url)
    await bus.start()
    (last,) = [record async for batch in bus.history([ROSTER]) for record in batch]
    assert await bus.places("lending", [ROSTER]) == {(ROSTER, 0): last.offset + 1}
    await bus.close()


# ── the log by itself ────────────────────────────────────────────────────────────────────────────


def fact(number: int, key: str, topic: str = LENDING) -> Outgoing:
    return Outgoing(topic, key, UUID(int=number), "LoanFiled", AT, None, f'{{"n":{number}}}'.encode())


async def waiting(bus: PostgresBus, group: str) -> list[int]:
    """What the group reads next of the topic."""
    subscription = await bus.subscribe(group, [LENDING])
    try:
        return [record.event_id.int for record in await subscription.poll(100, 0.5)]
    finally:
        await subscription.close()


async def test_a_group_goes_on_at_the_first_record_it_had_not_passed(databases: Databases) -> None:
    urls = [await databases.fresh(None, "bus") for _ in range(2)]
    old, new = (PostgresBus(url) for url in urls)
    for bus in (old, new):
        await bus.start()
    await new.publish([fact(0, "elsewhere", COMPENSATION)])  # positions differ between the two
    await old.publish([fact(0, "elsewhere", COMPENSATION)])
    await old.publish([fact(1, "a"), fact(2, "b"), fact(2, "b"), fact(3, "a"), fact(4, "b"), fact(5, "c")])
    groups = {"compensation": (LENDING,), "roster": (LENDING,), "gateway": (ROSTER,)}
    records = [record async for batch in old.history([LENDING]) for record in batch]
    await old.set_places("compensation", {(LENDING, 0): records[2].offset + 1})
    await old.set_places("roster", {(LENDING, 0): records[-1].offset + 1})
    await old.bury(DeadLetter(records[1], "compensation", "poison", 5))

    passed = await log.publish(old, new, await log.read(new), groups)
    await log.bury(new, await log.letters_of(old))
    await log.bury(new, await log.letters_of(old))
    await log.put_groups(new, passed, groups)

    assert (await log.read(new)).chains == (await log.read(old)).chains
    assert await waiting(new, "compensation") == [3, 4, 5]
    assert await waiting(new, "roster") == []
    [letter] = await new.dead_letters(LENDING)
    assert (letter.record.event_id.int, letter.group, letter.error, letter.attempts) == (
        2,
        "compensation",
        "poison",
        5,
    )
    for bus in (old, new):
        await bus.close()
    await databases.drop(*urls)


def test_the_secret_of_an_installation_is_carried_into_a_new_data_folder(tmp_path: Any) -> None:
    old = Side("old", Settings.model_validate({"secret": SECRET}), None)
    new = Side("new", Settings.model_validate({"secret": ""}), tmp_path)
    secret.keep(secret.agreed(old, new), new)
    assert (tmp_path / "secret").read_text("utf-8") == SECRET
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
