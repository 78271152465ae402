"""The support list: what records make of an enterprise's days, on any day, as known on any day."""

from __future__ import annotations

from datetime import date

from shared.events import EnterpriseListed, Period
from tests.roster.town import ALPHA, Town


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
