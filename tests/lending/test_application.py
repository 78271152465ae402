"""Applying, approving, rejecting, withdrawing, lapsing (R-20, R-21, R-24, R-11)."""

from __future__ import annotations

from datetime import date
from uuid import uuid4

from sqlalchemy import text

from shared.events import (
    ApplicationWithdrawn,
    ApprovalLapsed,
    InstitutionDisqualified,
    InstitutionExited,
    LoanApproved,
    LoanRejected,
)
from tests.ground import DAY, key
from tests.lending.town import ALPHA, BANK, FROM, RIVAL, Town, admitted, done, listed, refused, registered

CHI = "91330482MA28A4XX1R"


def asking(**more: object) -> dict[str, object]:
    return {
        "institution_id": str(BANK),
        "amount": "100.00",
        "term_months": 12,
        "security_type": "credit",
        "purpose": "研发",
    } | more


async def test_r20_an_enterprise_off_the_list_today_cannot_apply(town: Town) -> None:
    until_yesterday = listed(CHI, (date(2023, 1, 1), date(2026, 3, 1)))
    await town.it.hear(until_yesterday, registered(CHI))
    chi = town.it.client("enterprise", party=CHI)
    answer = await chi.post("/v1/applications", json=asking(), headers=key())
    refused(answer, "R-20", "not-eligible-to-apply")
    await town.it.hear(listed(CHI, (date(2023, 1, 1), DAY)))
    done(await chi.post("/v1/applications", json=asking(), headers=key()))


async def test_r20_an_enterprise_that_has_not_registered_cannot_apply(town: Town) -> None:
    await town.it.hear(listed(CHI))
    chi = town.it.client("enterprise", party=CHI)
    answer = await chi.post("/v1/applications", json=asking(), headers=key())
    refused(answer, "R-20", "not-eligible-to-apply")


async def test_r20_an_unknown_institution_is_not_found(town: Town) -> None:
    body = asking(institution_id=str(uuid4()))
    answer = await town.alpha.post("/v1/applications", json=body, headers=key())
    assert answer.status_code == 404


async def test_r11_from_its_exit_on_an_institution_takes_no_application_approval_or_filing(
    town: Town,
) -> None:
    waiting = await town.apply("100.00")
    approved = await town.approved("100.00")
    gone = InstitutionExited(
        institution_id=BANK, name="银行1", effective_on=date(2026, 3, 3), cause="own_notice", **FROM
    )
    await town.it.hear(gone)
    assert (await town.apply("100.00"))["state"] == "applied"
    await town.move_to(date(2026, 3, 3))
    answer = await town.alpha.post("/v1/applications", json=asking(), headers=key())
    refused(answer, "R-11", "institution-not-active")
    refused(await town.approve(waiting, "100.00"), "R-11", "institution-not-active")
    refused(await town.file(approved, "100.00", disbursed_on="2026-03-02"), "R-11", "institution-not-active")
    await town.it.hear(admitted(BANK, since=date(2026, 3, 3)))
    done(await town.approve(waiting, "100.00"))


async def test_r71_a_disqualified_institution_takes_no_application(town: Town) -> None:
    out = InstitutionDisqualified(
        institution_id=BANK, name="银行1", effective_on=DAY, refused_until=date(2028, 3, 2), **FROM
    )
    await town.it.hear(out)
    answer = await town.alpha.post("/v1/applications", json=asking(), headers=key())
    refused(answer, "R-11", "institution-not-active")


async def test_r21_more_than_applied_for_is_refused_and_nothing_is_reserved(town: Town) -> None:
    application = await town.apply("100.00")
    refused(await town.approve(application, "100.01"), "R-21", "more-than-applied-for")
    assert await town.room() == "10000000.00"
    approved = done(await town.approve(application, "80.00", annual_rate="3.5", term_months=6))
    assert (approved["approved_amount"], approved["unfiled"]) == ("80.00", "80.00")
    assert (approved["approved_rate"], approved["approved_term_months"]) == ("3.5000", 6)
    assert await town.room() == "9999920.00"
    (told,) = await town.it.announced(LoanApproved)
    assert (told.terms.amount, told.terms.term_months, told.lapses_on) == (8000, 6, date(2026, 5, 31))


async def test_r21_what_is_decided_is_not_decided_again(town: Town) -> None:
    application = await town.approved("100.00")
    problem = refused(await town.approve(application, "100.00"), "R-21", "illegal-move")
    assert (problem["state"], problem["moves"]) == ("approved", ["file", "file_last", "lapse", "withdraw"])


async def test_r21_a_rejection_has_a_reason_the_enterprise_reads(town: Town) -> None:
    application = await town.apply("100.00")
    path = f"/v1/applications/{application['id']}/rejection"
    assert (await town.bank.post(path, json={"reason": ""}, headers=key())).status_code == 422
    done(await town.bank.post(path, json={"reason": "现金流不足"}, headers=key()))
    shown = done(await town.alpha.get(f"/v1/applications/{application['id']}"))
    assert (shown["state"], shown["reason"]) == ("rejected", "现金流不足")
    assert (await town.it.announced(LoanRejected))[0].reason == "现金流不足"


async def test_r24_the_ceiling_binds_over_all_institutions(town: Town) -> None:
    await town.approved("6000000.00")
    second = await town.apply("5000000.00", at=RIVAL)
    problem = refused(await town.approve(second, "5000000.00", by=town.rival), "R-24", "ceiling-exceeded")
    assert "4000000.00" in problem["detail"]
    done(await town.approve(second, "4000000.00", by=town.rival))
    assert await town.room() == "0.00"


async def test_r24_a_withdrawn_application_gives_back_what_was_not_filed(town: Town) -> None:
    approval = await town.approved("1000.00")
    done(await town.file(approval, "400.00"))
    path = f"/v1/applications/{approval['id']}/withdrawal"
    assert (await town.beta.post(path, headers=key())).status_code == 404
    gone = done(await town.alpha.post(path, headers=key()))
    assert (gone["state"], gone["unfiled"]) == ("withdrawn", "0.00")
    assert await town.room() == "9999600.00"
    refused(await town.file(approval, "1.00"), "R-25", "illegal-move")
    refused(await town.alpha.post(path, headers=key()), "R-20", "illegal-move")
    assert len(await town.it.announced(ApplicationWithdrawn)) == 1


async def test_r21_an_approval_lapses_on_its_own_day_and_gives_its_room_back(town: Town) -> None:
    approval = await town.approved("1000.00")
    partly = await town.approved("1000.00")
    done(await town.file(partly, "300.00"))
    await town.move_to(date(2026, 5, 31))
    assert (await town.alpha.get(f"/v1/applications/{approval['id']}")).json()["state"] == "approved"
    await town.move_to(date(2026, 6, 1))
    for one in (approval, partly):
        shown = done(await town.alpha.get(f"/v1/applications/{one['id']}"))
        assert (shown["state"], shown["unfiled"]) == ("lapsed", "0.00")
    assert await town.room() == "9999700.00"
    assert len(await town.it.announced(ApprovalLapsed)) == 2
    assert "apply anew" in refused(await town.file(approval, "1.00"), "R-21", "approval-run-out")["detail"]
    await town.move_to(date(2026, 6, 5))
    assert len(await town.it.announced(ApprovalLapsed)) == 2


async def test_another_partys_application_is_answered_like_one_that_does_not_exist(town: Town) -> None:
    application = await town.apply("100.00")
    strangers = [
        await town.rival.get(f"/v1/applications/{application['id']}"),
        await town.beta.get(f"/v1/applications/{application['id']}"),
        await town.approve(application, "100.00", by=town.rival),
        await town.rival.post(
            f"/v1/applications/{application['id']}/rejection", json={"reason": "x"}, headers=key()
        ),
    ]
    nobody = await town.rival.get(f"/v1/applications/{uuid4()}")
    for answer in strangers:
        assert answer.status_code == 404
        assert answer.json() | {"instance": ""} == nobody.json() | {"instance": ""}


async def test_the_list_of_applications_shows_own_cases_page_by_page(town: Town) -> None:
    mine = [(await town.apply("100.00"))["id"] for _ in range(3)]
    other = (await town.apply("100.00", by=town.beta, at=RIVAL))["id"]
    first = done(await town.alpha.get("/v1/applications?limit=2"))
    rest = done(await town.alpha.get(f"/v1/applications?limit=2&cursor={first['next_cursor']}"))
    assert [row["id"] for row in first["items"] + rest["items"]] == mine[::-1]
    assert rest["next_cursor"] is None
    assert [row["id"] for row in done(await town.rival.get("/v1/applications"))["items"]] == [other]
    everything = done(await town.office.get("/v1/applications?state=applied"))["items"]
    assert {row["id"] for row in everything} == {*mine, other}
    assert (await town.office.get("/v1/applications?state=aproved")).status_code == 422
    by_enterprise = done(await town.office.get(f"/v1/applications?uscc={ALPHA}"))["items"]
    assert [row["id"] for row in by_enterprise] == mine[::-1]
    assert by_enterprise[0] == done(await town.alpha.get(f"/v1/applications/{mine[-1]}"))


async def test_numbers_go_on_beyond_six_digits(town: Town) -> None:
    async with town.it.running.database.transaction() as session:
        await session.execute(text("SELECT setval('application_number', 999998)"))
        await session.execute(text("SELECT setval('loan_number', 999999)"))
    numbers = [(await town.apply("1.00"))["number"] for _ in range(2)]
    assert numbers == ["A-2026-999999", "A-2026-1000000"]
    assert (await town.lend("1.00"))["number"] == "L-2026-1000000"
