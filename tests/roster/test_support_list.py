"""The support list: what records make of an enterprise's days, on any day, as known on any day."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import text

from services.roster.support_list import LISTED
from shared.events import EVENTS, EnterpriseDelisted, EnterpriseListed, Period, SupportListChanged
from tests.ground import DAY, key
from tests.roster.town import ALPHA, BETA, GAMMA, Town, done


async def test_r03_a_qualification_puts_an_enterprise_on_the_list_on_its_days(town: Town) -> None:
    job = await town.recognise(ALPHA, document_no="国科火字〔2026〕1号")
    assert (job["state"], job["added"], job["enterprises_changed"]) == ("done", 1, 1)
    assert await town.days(ALPHA) == [("2026-01-01", "2028-12-31")]
    told = await town.it.announced(EnterpriseListed)
    assert [(e.uscc, e.from_day, e.cause, e.document) for e in told] == [
        (ALPHA, date(2026, 1, 1), "qualification", "国科火字〔2026〕1号")
    ]
    assert told[0].listed == (Period(from_day=date(2026, 1, 1), to_day=date(2028, 12, 31)),)
    assert not await town.listed(ALPHA, "2025-12-31")
    assert await town.listed(ALPHA, "2028-12-31")
    assert not await town.listed(ALPHA, "2029-01-01")


async def test_r03_days_of_several_qualifications_are_one_calendar(town: Town) -> None:
    await town.recognise(ALPHA, valid_from="2026-01-01", valid_to="2026-06-30")
    await town.recognise(ALPHA, category="gazelle", valid_from="2026-07-01", valid_to="2026-12-31")
    await town.recognise(ALPHA, category="little_giant", valid_from="2028-01-01", valid_to=None)
    assert await town.days(ALPHA) == [("2026-01-01", "2026-12-31"), ("2028-01-01", None)]


async def test_r04_a_d_class_period_takes_its_days_off_whatever_the_enterprise_holds(town: Town) -> None:
    await town.recognise(ALPHA)
    await town.rate_d(ALPHA, first="2026-04-01", last="2027-03-31", document_no="平绩效办〔2026〕2号")
    assert await town.days(ALPHA) == [("2026-01-01", "2026-03-31"), ("2027-04-01", "2028-12-31")]
    told = (await town.it.announced())[-1]
    assert isinstance(told, EnterpriseDelisted)
    assert (told.cause, told.from_day, told.document) == (
        "d_class_start",
        date(2026, 4, 1),
        "平绩效办〔2026〕2号",
    )
    await town.recognise(ALPHA, category="single_champion")
    assert len(await town.days(ALPHA)) == 2


async def test_r04_a_d_class_period_known_before_any_qualification_holds_against_a_later_one(
    town: Town,
) -> None:
    await town.rate_d(ALPHA, first="2026-01-01", last="2026-12-31")
    assert await town.days(ALPHA) == []
    assert await town.it.announced() == []
    await town.recognise(ALPHA)
    assert await town.days(ALPHA) == [("2027-01-01", "2028-12-31")]


async def test_r05_the_list_follows_expiry_and_d_class_on_their_own_days(town: Town) -> None:
    await town.recognise(ALPHA, valid_to="2026-03-04", document_no="甲")
    await town.recognise(BETA, document_no="乙")
    await town.rate_d(BETA, first="2026-03-04", last="2026-03-05", document_no="丙")
    before = len(await town.it.announced())
    await town.it.move_to(DAY + timedelta(days=5))
    told = (await town.it.announced())[before:]
    assert [(e.uscc, type(e), e.from_day, e.cause, e.document) for e in told] == [
        (BETA, EnterpriseDelisted, date(2026, 3, 4), "d_class_start", "丙"),
        (ALPHA, EnterpriseDelisted, date(2026, 3, 5), "expiry", "甲"),
        (BETA, EnterpriseListed, date(2026, 3, 6), "d_class_end", "丙"),
    ]
    assert [e.business_date for e in told] == [e.from_day for e in told]


async def test_r05_a_day_on_which_one_record_ends_and_the_next_begins_changes_nothing(town: Town) -> None:
    await town.recognise(ALPHA, valid_to="2026-03-04")
    await town.recognise(ALPHA, category="gazelle", valid_from="2026-03-05", valid_to="2028-12-31")
    before = len(await town.it.announced())
    await town.it.move_to(DAY + timedelta(days=5))
    assert len(await town.it.announced()) == before


async def test_r05_a_qualification_that_begins_later_is_told_at_once_and_on_its_day(town: Town) -> None:
    await town.recognise(ALPHA, valid_from="2026-03-05")
    await town.it.move_to(date(2026, 3, 5))
    told = await town.it.announced(EnterpriseListed)
    assert [(e.from_day, e.business_date) for e in told] == [
        (date(2026, 3, 5), DAY),
        (date(2026, 3, 5), date(2026, 3, 5)),
    ]


async def revoke(town: Town, uscc: str, from_day: str, status: int = 200) -> dict[str, str]:
    shown = await town.get(f"/v1/enterprises/{uscc}")
    path = f"/v1/qualifications/{shown['qualifications'][0]['id']}/revocation"
    body = {"from_day": from_day, "reason": "浙科发高〔2026〕8号 取消资格"}
    answer = await town.office.post(path, json=body, headers=key())
    return done(answer, status)  # type: ignore[no-any-return]


async def test_r05_a_revocation_ends_the_days_and_keeps_what_was_known_before(town: Town) -> None:
    await town.recognise(ALPHA, document_no="甲")
    await town.it.move_to(date(2026, 3, 10))
    shown = await revoke(town, ALPHA, "2026-02-01")
    assert (shown["revoked_from"], shown["valid_to"]) == ("2026-02-01", "2028-12-31")
    assert await town.days(ALPHA) == [("2026-01-01", "2026-01-31")]
    told = (await town.it.announced())[-1]
    assert (type(told), told.cause, told.from_day, told.document) == (
        EnterpriseDelisted,
        "revocation",
        date(2026, 2, 1),
        "甲",
    )
    history = f"/v1/enterprises/{ALPHA}/list-history"
    then = await town.get(history, known_on="2026-03-09")
    assert then["listed"] == [{"from_day": "2026-01-01", "to_day": "2028-12-31"}]
    assert [turn["cause"] for turn in then["turns"]] == ["qualification", "expiry"]
    assert len(then["announced"]) == 1
    now = await town.get(history)
    assert now["turns"] == [
        {"day": "2026-01-01", "on_list": True, "cause": "qualification", "document": "甲"},
        {"day": "2026-02-01", "on_list": False, "cause": "revocation", "document": "甲"},
    ]
    assert [change["recorded_on"] for change in now["announced"]] == ["2026-03-02", "2026-03-10"]
    assert await town.listed(ALPHA, "2026-03-01", known_on="2026-03-09")
    assert not await town.listed(ALPHA, "2026-03-01", known_on="2026-03-10")
    assert not await town.listed(ALPHA, "2026-01-15", known_on="2026-03-01")


async def test_r05_a_revocation_before_the_first_day_leaves_no_day(town: Town) -> None:
    await town.recognise(ALPHA)
    await revoke(town, ALPHA, "2025-01-01")
    assert await town.days(ALPHA) == []


async def test_r05_a_record_is_revoked_once_and_not_after_its_end(town: Town) -> None:
    await town.recognise(ALPHA)
    assert (await revoke(town, ALPHA, "2029-01-01", 409))["rule"] == "R-05"
    await revoke(town, ALPHA, "2026-06-01")
    assert (await revoke(town, ALPHA, "2026-05-01", 409))["rule"] == "R-05"


async def test_r05_a_revoked_record_does_not_come_back_by_its_old_document(town: Town) -> None:
    await town.recognise(ALPHA, document_no="甲")
    await revoke(town, ALPHA, "2026-03-01")
    same = await town.recognise(ALPHA, document_no="甲")
    assert (same["unchanged"], same["refused"]) == (1, 0)
    longer = await town.recognise(ALPHA, document_no="甲", valid_to="2029-12-31")
    assert longer["refused"] == 1
    assert await town.days(ALPHA) == [("2026-01-01", "2026-02-28")]


async def test_r04_a_d_class_period_taken_back_gives_the_days_back(town: Town) -> None:
    await town.recognise(ALPHA)
    await town.rate_d(ALPHA, first="2026-01-01", last="2026-12-31")
    shown = await town.get(f"/v1/enterprises/{ALPHA}")
    path = f"/v1/d-class-periods/{shown['d_class_periods'][0]['id']}/revocation"
    body = {"from_day": "2026-01-01", "reason": "评价结果更正"}
    done(await town.office.post(path, json=body, headers=key()))
    assert await town.days(ALPHA) == [("2026-01-01", "2028-12-31")]
    told = (await town.it.announced())[-1]
    assert (type(told), told.cause) == (EnterpriseListed, "d_class_end")


async def test_r03_the_kept_days_are_what_the_records_say_and_the_events_what_pydantic_writes(
    town: Town,
) -> None:
    await town.recognise(ALPHA, BETA, GAMMA, document_no='引号"、反斜\\杠、制表\t号')
    await town.rate_d(BETA, first="2026-05-01", last="2026-05-31")
    await revoke(town, GAMMA, "2026-06-01")
    await town.recognise(ALPHA, valid_to=None)
    async with town.it.running.database.reading() as session:
        kept = text(f"SELECT uscc, listed = ({LISTED.format(uscc='e.uscc')}) AS same FROM enterprise e")
        assert {row.uscc: row.same for row in await session.execute(kept)} == dict.fromkeys(
            (ALPHA, BETA, GAMMA), True
        )
        rows = (await session.execute(text("SELECT * FROM outbox ORDER BY seq"))).all()
    assert len(rows) == 6
    for row in rows:
        event = EVENTS[row.type].read(row.event_id, row.time, row.data.encode())
        assert isinstance(event, SupportListChanged)
        assert event.payload() == row.data
        assert (row.topic, row.key) == (event.topic, event.key)


@pytest.mark.parametrize("filters", [{"q": "企业"}, {"category": "gazelle"}, {"listed_on": "2026-03-02"}])
async def test_r03_the_list_is_paged_in_the_order_of_codes(town: Town, filters: dict[str, str]) -> None:
    await town.recognise(ALPHA, BETA, GAMMA, category="gazelle")
    first = await town.get("/v1/enterprises", limit=2, **filters)
    rest = await town.get("/v1/enterprises", limit=2, cursor=first["next_cursor"], **filters)
    found = [item["uscc"] for item in first["items"] + rest["items"]]
    assert found == sorted((ALPHA, BETA, GAMMA))
    assert first["items"][0]["categories"] == ["gazelle"]
    assert rest["next_cursor"] is None


async def test_an_enterprise_sees_itself_and_learns_of_no_other(town: Town) -> None:
    await town.recognise(ALPHA, BETA)
    for path in ("/v1/enterprises/{}", "/v1/enterprises/{}/list-history"):
        assert done(await town.alpha.get(path.format(ALPHA)))["uscc"] == ALPHA
        there, nowhere = [await town.alpha.get(path.format(uscc)) for uscc in (BETA, GAMMA)]
        assert there.status_code == nowhere.status_code == 404
        assert there.json() | {"instance": ""} == nowhere.json() | {"instance": ""}
    page = done(await town.alpha.get("/v1/enterprises"))
    assert [item["uscc"] for item in page["items"]] == [ALPHA]
    assert (await town.bank.get("/v1/enterprises")).status_code == 403
