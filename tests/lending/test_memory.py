"""What lending has heard of others: in sets, in any order across topics, on its way, and again."""

from __future__ import annotations

import asyncio
from datetime import date
from uuid import UUID, uuid4

from sqlalchemy import text

from services.lending.app import SERVICE
from shared.database import instrument
from shared.events import (
    CompensationPaid,
    EnterpriseDelisted,
    EnterpriseListed,
    Event,
    InstitutionExited,
)
from tests.ground import DAY, key
from tests.lending.town import (
    ALPHA,
    BANK,
    FROM,
    Town,
    about_claim,
    admitted,
    claim_approved,
    done,
    listed,
    refused,
    registered,
)


async def rows(town: Town, statement: str) -> list[tuple[object, ...]]:
    async with town.it.running.database.reading() as session:
        return [tuple(row) for row in await session.execute(text(statement))]


async def test_r05_the_newest_days_on_the_list_are_kept_whatever_the_batch(town: Town) -> None:
    off = EnterpriseDelisted(
        uscc=ALPHA,
        name="改名后的企业",
        listed=(),
        from_day=DAY,
        cause="revocation",
        document="撤销〔2026〕1号",
        **FROM,
    )
    await town.it.hear(listed(ALPHA), listed(ALPHA, (DAY, DAY)), off)
    found = await rows(town, f"SELECT name, listed::text, registered FROM borrower WHERE uscc = '{ALPHA}'")
    assert found == [("改名后的企业", "{}", True)]


async def test_r06_an_import_is_taken_in_as_a_set_not_row_by_row(town: Town) -> None:
    seen: list[str] = []
    instrument(town.it.running.database.engine.sync_engine, seen.append)
    await town.it.hear(*(listed(f"9133048200000{n:05d}") for n in range(2_000)))
    assert (await rows(town, "SELECT count(*) FROM borrower"))[0] == (2_002,)
    assert 0 < sum("INSERT INTO borrower" in statement for statement in seen) < 50


async def test_a_registration_and_a_listing_are_remembered_in_either_order(town: Town) -> None:
    for first, uscc in ((True, "91330482000000001A"), (False, "91330482000000002A")):
        facts: list[Event] = [registered(uscc), listed(uscc)]
        for fact in facts if first else reversed(facts):
            await town.it.hear(fact)
        enterprise = town.it.client("enterprise", party=uscc)
        assert (await town.apply("1.00", by=enterprise))["state"] == "applied"


async def test_a_command_waits_for_a_fact_still_on_its_way(town: Town) -> None:
    newcomer = uuid4()
    asking = asyncio.create_task(town.apply("1.00", at=newcomer))
    await asyncio.sleep(0)
    await town.it.hear(admitted(newcomer))
    assert (await asking)["institution_id"] == str(newcomer)


async def test_the_memory_can_be_heard_again_from_the_log(town: Town) -> None:
    gone = InstitutionExited(
        institution_id=BANK, name="银行1", effective_on=date(2026, 6, 1), cause="own_notice", **FROM
    )
    back = admitted(BANK, since=date(2026, 9, 1))
    await town.it.hear(gone, back)
    before = await rows(town, "SELECT active::text FROM lender ORDER BY institution_id")
    async with town.it.running.database.transaction() as session:
        await session.execute(text(f"TRUNCATE {', '.join(SERVICE.memory)}"))
    async with town.it.running.database.transaction() as session:
        for event in (admitted(BANK), admitted(town.rival_id), gone, back):
            for reaction in SERVICE.remembers[type(event)]:
                await reaction(session, [event])
    assert await rows(town, "SELECT active::text FROM lender ORDER BY institution_id") == before
    assert before[0] == ("{[2022-06-26,2026-06-01),[2026-09-01,)}",)


async def test_a_payout_heard_in_one_breath_with_its_approval_leaves_the_claim_paid(town: Town) -> None:
    loan = await town.lend("1000.00")
    paid = CompensationPaid(
        fund_paid=60, guarantor_paid=0, fund_paid_on=DAY, paid_on=DAY, **about_claim(loan)
    )
    await town.it.hear(claim_approved(loan), paid)
    assert (await town.loan(loan))["claim_state"] == "paid"


async def test_r25_a_list_that_changes_reaching_back_makes_a_case_and_unfiles_nothing(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.it.hear(listed(ALPHA, (date(2022, 6, 26), date(2026, 3, 1))))
    await town.it.hear(listed(ALPHA, (date(2022, 6, 26), date(2026, 2, 1))))
    assert (await town.loan(loan))["state"] == "active"
    (case,) = done(await town.office.get("/v1/roster-cases?state=open"))["items"]
    assert (case["loan_id"], case["cause"]) == (loan["id"], "not_listed")
    assert (await town.bank.get("/v1/roster-cases")).status_code == 403
    path, body = f"/v1/roster-cases/{case['id']}/decision", {"decision": "keep", "reason": "放款时在名单内"}
    assert done(await town.office.post(path, json=body, headers=key()))["state"] == "kept"
    for who in (town.bank, town.alpha):
        (seen,) = done(await who.get(f"/v1/loans/{loan['id']}"))["roster_cases"]
        assert (seen["cause"], seen["state"], seen["reason"]) == ("not_listed", "kept", body["reason"])
    refused(await town.office.post(path, json=body, headers=key()), "R-25", "illegal-move")
    nothing = f"/v1/roster-cases/{uuid4()}/decision"
    assert (await town.office.post(nothing, json=body, headers=key())).status_code == 404


async def test_r11_an_exit_that_reaches_back_makes_a_case_too(town: Town) -> None:
    loan = await town.lend("1000.00")
    gone = InstitutionExited(
        institution_id=BANK, name="银行1", effective_on=DAY, cause="conference_decision", **FROM
    )
    await town.it.hear(gone)
    (case,) = done(await town.office.get("/v1/roster-cases"))["items"]
    assert (UUID(case["loan_id"]), case["cause"]) == (UUID(loan["id"]), "institution_not_active")


async def test_r03_an_ordinary_change_of_the_list_makes_no_case(town: Town) -> None:
    await town.lend("1000.00")
    later: EnterpriseListed = listed(ALPHA, (date(2022, 6, 26), DAY))
    await town.it.hear(later)
    assert done(await town.office.get("/v1/roster-cases"))["items"] == []
