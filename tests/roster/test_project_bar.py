"""The project bar: what compensation's facts make of it, in whatever order they come."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.events import (
    AboutClaim,
    ClaimApproved,
    ClaimCancelled,
    CompensationPaid,
    ProjectBarLifted,
    ProjectBarSet,
    Split,
)
from tests.ground import DAY
from tests.roster.town import ALPHA, BANK, BETA, FROM, Town, done

PAID_ON, FREE_ON = date(2026, 4, 1), "2029-04-01"


def about(claim: int = 1) -> dict[str, Any]:
    return {
        "event_id": uuid4(),
        "claim_id": UUID(int=claim),
        "claim_number": f"C-2026-{claim:06d}",
        "loan_id": UUID(int=claim),
        "uscc": ALPHA,
        "enterprise_name": "阿尔法传感",
        "institution_id": BANK,
        "institution_name": "平湖农商银行",
        "guarantor_id": None,
        **FROM,
    }


def approved(claim: int = 1) -> AboutClaim:
    nothing = Split(**dict.fromkeys(Split.model_fields, 0))
    more = {"approved_on": DAY, "principal": 100, "interest": 0, "split": nothing, "cut": 0}
    return ClaimApproved(payout_due_on=DAY, **more, **about(claim))


def paid(claim: int = 1, fund_paid_on: date | None = PAID_ON) -> AboutClaim:
    more = {"fund_paid": 60, "guarantor_paid": 0, "fund_paid_on": fund_paid_on, "paid_on": PAID_ON}
    return CompensationPaid(**more, **about(claim))


def cancelled(claim: int = 1) -> AboutClaim:
    return ClaimCancelled(**about(claim))


async def asked(town: Town, on: str = "2026-05-01", uscc: str = ALPHA) -> tuple[bool, str | None]:
    shown = done(await town.partner.get(f"/v1/project-eligibility/{uscc}", params={"on": on}))
    return shown["eligible"], shown["barred_until"]


async def test_r50_a_partner_asks_and_is_told_yes_no_reason_and_end(town: Town) -> None:
    assert await asked(town) == (True, None)
    await town.it.hear(approved())
    assert await asked(town) == (False, None)
    assert await asked(town, "2026-03-01") == (True, None)
    await town.it.hear(paid())
    assert await asked(town) == (False, FREE_ON)
    assert await asked(town, "2029-03-31") == (False, FREE_ON)
    assert await asked(town, FREE_ON) == (True, None)
    told = await town.it.announced(ProjectBarSet)
    assert [(e.uscc, e.until) for e in told] == [(ALPHA, None), (ALPHA, date(2029, 4, 1))]


async def test_r50_the_years_run_from_the_payout_where_the_fund_had_nothing_to_pay(town: Town) -> None:
    await town.it.hear(approved(), paid(fund_paid_on=None))
    assert await asked(town) == (False, FREE_ON)


async def test_r49_a_cancelled_claim_lifts_its_bar_and_no_other(town: Town) -> None:
    await town.it.hear(approved(1), approved(2), cancelled(1))
    assert await asked(town) == (False, None)
    await town.it.hear(cancelled(2))
    assert await asked(town) == (True, None)
    assert [e.claim_id.int for e in await town.it.announced(ProjectBarLifted)] == [1, 2]


@pytest.mark.parametrize("order", [*itertools.permutations((approved, paid))])
async def test_r50_both_orders_of_approval_and_payout_end_the_same(town: Town, order: Any) -> None:
    for fact in order:
        await town.it.hear(fact())
    assert await asked(town) == (False, FREE_ON)


@pytest.mark.parametrize("order", [*itertools.permutations((approved, cancelled))])
async def test_r50_both_orders_of_approval_and_cancellation_end_the_same(town: Town, order: Any) -> None:
    for fact in order:
        await town.it.hear(fact())
    assert await asked(town) == (True, None)


async def test_r50_a_fact_told_twice_counts_once(town: Town) -> None:
    one, two = approved(), paid()
    await town.it.hear(one, two, one, two)
    assert await asked(town) == (False, FREE_ON)
    assert len(await town.it.announced(ProjectBarSet)) == 2


async def test_r50_the_bar_does_not_take_the_enterprise_off_the_list(town: Town) -> None:
    await town.recognise(ALPHA)
    await town.it.hear(approved(), paid())
    assert (await town.get(f"/v1/enterprises/{ALPHA}"))["on_list"]


async def test_r50_others_ask_about_nobody_else(town: Town) -> None:
    assert done(await town.alpha.get(f"/v1/project-eligibility/{ALPHA}"))["on"] == "2026-03-02"
    assert (await town.alpha.get(f"/v1/project-eligibility/{BETA}")).status_code == 404
    assert (await town.bank.get(f"/v1/project-eligibility/{ALPHA}")).status_code == 403
    assert (await town.partner.get("/v1/enterprises")).status_code == 403
    assert (await town.partner.get(f"/v1/project-eligibility/{ALPHA[:-1]}Z")).status_code == 422
