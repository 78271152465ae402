"""The people of roster's tests, and what they usually do."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx

from bench.recognition_list import code, text
from shared.measures import measures_on
from tests.ground import DAY, Alone, eventually, key

ALPHA, BETA, GAMMA = (code(number) for number in (1, 2, 3))
BANK, RIVAL = UUID(int=1), UUID(int=2)
SINCE = "2022-06-26"
FROM = {"business_date": DAY, "measures": SINCE}
HEADERS = ("统一社会信用代码", "企业名称")
_documents = itertools.count(1)


def done(answer: httpx.Response, status: int | None = None) -> Any:
    """The answer's JSON; fails loudly when it is not the expected one."""
    expected = answer.status_code < 300 if status is None else answer.status_code == status
    assert expected, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    return answer.json()


def table(*rows: Sequence[str], headers: Sequence[str] = HEADERS) -> bytes:
    """A CSV list."""
    return text(headers, iter([list(row) for row in rows]))


class Town:
    """Roster at work, and shorthand for what its parties do."""

    def __init__(self, it: Alone) -> None:
        self.it = it
        self.office = it.client("office")
        self.auditor = it.client("auditor")
        self.nobody = it.client()
        self.bank = it.client("institution", party=str(BANK))
        self.rival = it.client("institution", party=str(RIVAL))
        self.alpha = it.client("enterprise", party=ALPHA)
        self.beta = it.client("enterprise", party=BETA)
        self.partner = it.client("partner", machine=True)

    def members(self) -> list[httpx.AsyncClient]:
        return [self.it.client("member", party=unit.code) for unit in measures_on(DAY).units]

    async def upload(self, content: bytes, name: str = "list.csv", /, **form: Any) -> dict[str, Any]:
        """Import a list and wait until it is worked off."""
        told: dict[str, Any] = {
            "kind": "qualification",
            "category": "national_high_tech",
            "document_no": f"国科火字〔2026〕{next(_documents)}号",
            "issued_on": "2026-01-01",
            "valid_from": "2026-01-01",
            "valid_to": "2028-12-31",
        } | form
        if told["kind"] == "d_class":
            del told["category"]
        told = {name: value for name, value in told.items() if value is not None}
        answer = await self.office.post(
            "/v1/imports", data=told, files={"file": (name, content)}, headers=key()
        )
        done(answer, 202)
        return await self.finished(answer.headers["location"])

    async def finished(self, location: str) -> dict[str, Any]:
        async def over() -> dict[str, Any] | None:
            job = done(await self.office.get(location))
            return job if job["state"] in ("done", "refused") else None

        return await eventually(over, f"the end of {location}", 120)  # type: ignore[no-any-return]

    async def recognise(self, *usccs: str, **form: Any) -> dict[str, Any]:
        """These enterprises hold a qualification by a new document."""
        return await self.upload(table(*((uscc, f"企业{uscc[-6:]}") for uscc in usccs)), **form)

    async def rate_d(self, *usccs: str, first: str, last: str, **form: Any) -> dict[str, Any]:
        """These enterprises are in a D-class period."""
        days = {"valid_from": first, "valid_to": last}
        return await self.recognise(*usccs, **({"kind": "d_class"} | days | form))

    async def get(self, path: str, /, **query: Any) -> Any:
        return done(await self.office.get(path, params=query))

    async def listed(self, uscc: str, on: str, **query: Any) -> bool:
        """Is the enterprise on the list on a day?"""
        page = await self.get("/v1/enterprises", listed_on=on, q=uscc, **query)
        return bool(page["items"])

    async def days(self, uscc: str) -> list[tuple[str, str | None]]:
        """The enterprise's days on the list as known now."""
        shown = await self.get(f"/v1/enterprises/{uscc}")
        return [(period["from_day"], period["to_day"]) for period in shown["listed"]]

    async def all_approve(self, case: str) -> Any:
        answer = None
        for member in self.members():
            answer = done(await member.post(f"{case}/ballots", json={"choice": "approve"}, headers=key()))
        return answer
