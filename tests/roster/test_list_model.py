"""The support list against a model of it as plain sets of days (R-03, R-04, R-05).

Three seeds of random work: documents and D-class periods imported, mended, revoked and taken back, days that
pass. After each step the list is what the model says; in the end, so is the list as it was known at the end
of every day; and every day on which an enterprise came or went was told on that day.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest

from shared.events import EnterpriseListed, SupportListChanged
from tests.ground import DAY, key
from tests.roster.town import ALPHA, BETA, GAMMA, Town

FIRST, LAST = date(2026, 1, 1), date(2026, 6, 30)
WINDOW = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
STEPS = 45


@dataclass
class Record:
    """What one document says of one enterprise."""

    first: date
    last: date | None
    revoked_from: date | None = None

    def days(self) -> set[date]:
        return {
            day
            for day in WINDOW
            if self.first <= day
            and (self.last is None or day <= self.last)
            and (self.revoked_from is None or day < self.revoked_from)
        }


@dataclass
class Model:
    """The records by (kind, enterprise, category, document), and the list at the end of each day."""

    records: dict[tuple[str, str, str, str], Record] = field(default_factory=dict)
    known: dict[date, dict[str, set[date]]] = field(default_factory=dict)

    def listed(self, uscc: str) -> set[date]:
        on, off = set[date](), set[date]()
        for (kind, whose, _, _), record in self.records.items():
            if whose == uscc:
                (on if kind == "qualification" else off).update(record.days())
        return on - off

    def take(self, name: tuple[str, str, str, str], record: Record) -> None:
        """An imported row: new, other days for a known document, or refused for a revoked one."""
        old = self.records.get(name)
        if old is None or old.revoked_from is None:
            self.records[name] = record


def shown(periods: list[dict[str, Any]]) -> set[date]:
    spans = [(p["from_day"], p["to_day"] or LAST.isoformat()) for p in periods]
    return {day for day in WINDOW if any(a <= day.isoformat() <= b for a, b in spans)}


class Work:
    """Random work of the office, by one seed, done by the service and by the model."""

    def __init__(self, town: Town, seed: int) -> None:
        self.town, self.model, self.dice = town, Model(), random.Random(seed)
        self.usccs = (ALPHA, BETA, GAMMA)

    async def imports(self) -> None:
        kind = self.dice.choice(["qualification", "qualification", "d_class"])
        category = self.dice.choice(["gazelle", "little_giant"]) if kind == "qualification" else ""
        first = self.dice.choice(WINDOW)
        last: date | None = min(first + timedelta(days=self.dice.choice([0, 1, 20, 90])), LAST)
        if kind == "qualification" and self.dice.random() < 0.2:
            last = None
        document, usccs = (
            self.dice.choice("甲乙丙"),
            self.dice.sample(self.usccs, self.dice.choice([1, 2, 3])),
        )
        form = {
            "kind": kind,
            "category": category,
            "document_no": document,
            "valid_from": first.isoformat(),
            "valid_to": last and last.isoformat(),
        }
        job = await self.town.recognise(*usccs, **form)
        assert job["state"] == "done"
        for uscc in usccs:
            self.model.take((kind, uscc, category, document), Record(first, last))

    async def revokes(self) -> None:
        if not self.model.records:
            return
        name = self.dice.choice(sorted(self.model.records))
        kind, uscc, category, document = name
        whole = await self.town.get(f"/v1/enterprises/{uscc}")
        records = whole["qualifications" if kind == "qualification" else "d_class_periods"]
        (one,) = [r for r in records if r["document_no"] == document and r.get("category", "") == category]
        from_day, record = self.dice.choice(WINDOW), self.model.records[name]
        where = "qualifications" if kind == "qualification" else "d-class-periods"
        answer = await self.town.office.post(
            f"/v1/{where}/{one['id']}/revocation",
            json={"from_day": from_day.isoformat(), "reason": "更正"},
            headers=key(),
        )
        possible = record.revoked_from is None and (record.last is None or from_day <= record.last)
        assert answer.status_code == (200 if possible else 409), answer.text
        if possible:
            record.revoked_from = from_day

    async def days_pass(self) -> None:
        today = self.town.it.clock.today()
        for _ in range(self.dice.choice([1, 1, 7])):
            self.model.known[today] = {uscc: self.model.listed(uscc) for uscc in self.usccs}
            today += timedelta(days=1)
        await self.town.it.move_to(today)

    async def look(self) -> None:
        for uscc in self.usccs:
            answer = await self.town.office.get(f"/v1/enterprises/{uscc}")
            listed = shown(answer.json()["listed"]) if answer.status_code == 200 else set()
            assert listed == self.model.listed(uscc)

    async def look_back(self) -> None:
        for known_on, listed in self.model.known.items():
            for day in self.dice.sample(WINDOW, 4):
                page = await self.town.get("/v1/enterprises", listed_on=str(day), known_on=str(known_on))
                on = {uscc for uscc, days in listed.items() if day in days}
                assert {item["uscc"] for item in page["items"]} == on, (day, known_on)
            for uscc in {uscc for _, uscc, _, _ in self.model.records}:
                path = f"/v1/enterprises/{uscc}/list-history"
                history = await self.town.get(path, known_on=str(known_on))
                assert shown(history["listed"]) == listed[uscc]

    async def told(self) -> None:
        """What was announced last is what holds, and each turn was told on its own day."""
        events = [e for e in await self.town.it.announced() if isinstance(e, SupportListChanged)]
        for uscc in self.usccs:
            own = [e for e in events if e.uscc == uscc]
            last = shown([p.model_dump(mode="json") for p in own[-1].listed]) if own else set()
            assert last == self.model.listed(uscc)
            for before, days in self.model.known.items():
                day = before + timedelta(days=1)
                if (day in days[uscc]) != (before in days[uscc]):
                    wanted = (day, day, day in days[uscc])
                    on_the_day = [(e.business_date, e.from_day, isinstance(e, EnterpriseListed)) for e in own]
                    assert wanted in on_the_day


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_r05_the_list_as_of_and_as_known_on_any_day_is_the_model_s(town: Town, seed: int) -> None:
    work = Work(town, seed)
    assert town.it.clock.today() == DAY
    for _ in range(STEPS):
        step = work.dice.choice([work.imports, work.imports, work.revokes, work.days_pass])
        if town.it.clock.today() < LAST - timedelta(days=10) or step != work.days_pass:
            await step()
        await work.look()
    await work.look_back()
    await work.told()
