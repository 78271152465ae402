"""Overdue: found by the day's work or reported (R-30, R-31), cured (R-32), by the calendar (R-33)."""

from __future__ import annotations

from datetime import date
from uuid import uuid4

from shared.events import OverdueCured, OverdueDetected, RepaymentOverdue, WorkingCalendarSet
from tests.ground import key
from tests.lending.town import Town, done, refused


async def test_r31_worked_example_3_the_deadline_counts_holidays_and_make_up_days(town: Town) -> None:
    approval = await town.approved("1000.00")
    term = {"disbursed_on": "2022-08-10", "matures_on": "2022-09-30", "repayment_method": "bullet_all"}
    loan = done(await town.file(approval, "1000.00", **term))
    report = done(await town.report(loan))
    assert (report["overdue_since"], report["report_deadline"]) == ("2022-09-30", "2022-10-12")
    assert (report["on_time"], report["warnings"]) == (False, [])


async def test_r30_an_amount_due_on_d_is_overdue_from_the_next_day(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 4, 2))
    assert (await town.loan(loan))["state"] == "active"
    await town.move_to(date(2026, 4, 3))
    overdue = await town.loan(loan)
    assert (overdue["state"], overdue["overdue_since"]) == ("overdue", "2026-04-02")
    # 3 April works, 4 to 6 April is Tomb-sweeping, 7, 8, 9 and 10 April work.
    assert overdue["report_deadline"] == "2026-04-10"
    (told,) = await town.it.announced(OverdueDetected)
    assert (told.overdue_since, told.report_deadline) == (date(2026, 4, 2), date(2026, 4, 10))
    assert told.position.overdue_since == date(2026, 4, 2)
    await town.move_to(date(2026, 4, 6))
    assert len(await town.it.announced(OverdueDetected)) == 1


async def test_r30_a_day_with_nothing_to_pay_is_never_overdue(town: Town) -> None:
    free = await town.lend("1000.00", annual_rate="0.0000")
    nothing = {"due_on": "2026-04-02", "principal": "0.00", "interest": "0.00"}
    all_of_it = {"due_on": "2026-05-04", "principal": "1000.00", "interest": "6.30"}
    listed = await town.lend("1000.00", repayment_method="explicit", dues=[nothing, all_of_it])
    assert (free["next_due_on"], listed["next_due_on"]) == ("2027-03-02", "2026-05-04")
    await town.move_to(date(2026, 4, 3))
    assert await town.it.announced(OverdueDetected) == []
    refused(await town.report(free), "R-30", "not-overdue")
    await town.move_to(date(2026, 5, 5))
    assert [e.overdue_since for e in await town.it.announced(OverdueDetected)] == [date(2026, 5, 4)]


async def test_r30_missed_days_are_caught_up_one_by_one(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 6, 30))
    (told,) = await town.it.announced(OverdueDetected)
    assert (told.business_date, told.overdue_since) == (date(2026, 4, 3), date(2026, 4, 2))
    assert (await town.loan(loan))["overdue_since"] == "2026-04-02"


async def test_r30_money_that_came_by_the_due_day_but_was_posted_later_cures(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 4, 3))
    done(await town.repay(loan, "0.00", "3.10", on=date(2026, 4, 2)))
    assert (await town.loan(loan))["state"] == "active"
    (told,) = await town.it.announced(OverdueCured)
    assert (told.overdue_since, told.cured_on) == (date(2026, 4, 2), date(2026, 4, 2))


async def test_r31_the_report_says_what_is_unpaid_and_whether_it_is_on_time(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 4, 10))
    on_time = done(await town.report(loan))
    assert (on_time["on_time"], on_time["working_days_late"]) == (True, 0)
    assert (on_time["unpaid_principal"], on_time["unpaid_interest"]) == ("0.00", "3.10")
    (told,) = await town.it.announced(RepaymentOverdue)
    assert (told.on_time, told.unpaid_interest, told.reported_on) == (True, 310, date(2026, 4, 10))
    assert told.position.version == 3
    refused(await town.report(loan), "R-31", "reported-already")
    reports = done(await town.office.get(f"/v1/loans/{loan['id']}/overdue-reports"))["items"]
    assert [report["id"] for report in reports] == [on_time["id"]]


async def test_r31_a_late_report_is_accepted_and_marked(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 4, 14))
    late = done(await town.report(loan, unpaid_principal="1000.00", unpaid_interest="4.00"))
    assert (late["on_time"], late["working_days_late"]) == (False, 2)
    assert (late["unpaid_principal"], late["recorded_principal"]) == ("1000.00", "0.00")
    assert (late["unpaid_interest"], late["recorded_interest"]) == ("4.00", "3.10")


async def test_r31_a_loan_that_is_not_overdue_is_not_reported(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 4, 2))
    refused(await town.report(loan), "R-30", "not-overdue")
    await town.move_to(date(2026, 4, 3))
    problem = refused(await town.report(loan, overdue_since="2026-04-01"), "R-30", "not-overdue")
    assert problem["overdue_since"] == "2026-04-02"
    answer = await town.report(loan, unpaid_principal="1000.01")
    problem = refused(answer, "R-31", "more-than-outstanding")
    assert problem["outstanding"] == "1000.00"
    done(await town.report(loan, overdue_since="2026-04-02"))


async def test_r30_the_institution_may_report_before_the_days_work_found_it(town: Town) -> None:
    approval = await town.approved("1000.00")
    loan = done(await town.file(approval, "1000.00", disbursed_on="2026-01-15"))
    assert loan["state"] == "active"
    done(await town.report(loan))
    assert (await town.loan(loan))["overdue_since"] == "2026-02-15"
    await town.move_to(date(2026, 3, 3))
    assert await town.it.announced(OverdueDetected) == []


async def test_r32_a_part_payment_moves_the_day_only_when_the_oldest_due_is_paid_in_full(
    town: Town,
) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 5, 4))
    done(await town.repay(loan, "0.00", "3.09"))
    assert (await town.loan(loan))["overdue_since"] == "2026-04-02"
    done(await town.repay(loan, "0.00", "0.01"))
    moved = await town.loan(loan)
    assert (moved["state"], moved["overdue_since"]) == ("overdue", "2026-05-02")
    assert moved["report_deadline"] == "2026-05-11"
    assert await town.it.announced(OverdueCured) == []
    done(await town.repay(loan, "0.00", "3.00"))
    cured = await town.loan(loan)
    assert (cured["state"], cured["overdue_since"], cured["report_deadline"]) == ("active", None, None)
    (told,) = await town.it.announced(OverdueCured)
    assert (told.overdue_since, told.cured_on) == (date(2026, 5, 2), date(2026, 5, 4))


async def test_r32_a_later_miss_starts_a_new_count_with_a_report_of_its_own(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 4, 3))
    done(await town.report(loan))
    done(await town.repay(loan, "0.00", "3.10"))
    await town.move_to(date(2026, 5, 4))
    assert (await town.loan(loan))["overdue_since"] == "2026-05-02"
    done(await town.report(loan))
    assert [e.overdue_since for e in await town.it.announced(RepaymentOverdue)] == [
        date(2026, 4, 2),
        date(2026, 5, 2),
    ]


async def test_r31_another_institutions_loan_is_not_found(town: Town) -> None:
    loan = await town.lend("1000.00")
    await town.move_to(date(2026, 4, 3))
    body = {"cause": "x", "action": "x"}
    strange = await town.rival.post(f"/v1/loans/{loan['id']}/overdue-reports", json=body, headers=key())
    nobody = await town.rival.post(f"/v1/loans/{uuid4()}/overdue-reports", json=body, headers=key())
    assert strange.status_code == nobody.status_code == 404
    assert strange.json() | {"instance": ""} == nobody.json() | {"instance": ""}


async def test_r33_a_year_without_a_plan_is_warned_of_until_the_office_uploads_one(town: Town) -> None:
    term = {"disbursed_on": "2026-03-02", "repayment_method": "bullet_all"}
    approval = await town.approved("1000.00")
    loan = done(await town.file(approval, "1000.00", matures_on="2090-09-29", **term))
    town.it.clock.hold(date(2090, 10, 5))
    report = done(await town.report(loan))
    assert report["report_deadline"] == "2090-10-06"
    assert report["provisional_years"] == [2090]
    assert "2090" in report["warnings"][0]
    shown = await town.loan(loan)
    assert shown["deadline_provisional"] is True
    assert "2090" in shown["warnings"][0]

    calendar = done(await town.bank.get("/v1/calendar/2090"))
    assert (calendar["source"], calendar["exceptions"]) == ("weekdays", {})
    assert "2090" in calendar["warning"]
    plan = {f"2090-10-0{day}": False for day in (2, 3, 4, 5, 6)}
    set_it = {"exceptions": plan}
    assert (await town.bank.put("/v1/calendar/2090", json=set_it)).status_code == 403
    done(await town.office.put("/v1/calendar/2090", json=set_it))
    calendar = done(await town.bank.get("/v1/calendar/2090"))
    assert (calendar["source"], calendar["exceptions"], calendar["warning"]) == ("office", plan, None)
    moved = await town.loan(loan)
    assert (moved["report_deadline"], moved["warnings"]) == ("2090-10-13", [])
    (told,) = await town.it.announced(WorkingCalendarSet)
    assert told.exceptions[date(2090, 10, 2)] is False


async def test_r33_a_year_of_the_library_shows_its_holidays_and_make_up_days(town: Town) -> None:
    calendar = done(await town.bank.get("/v1/calendar/2022"))
    assert calendar["source"] == "library"
    assert calendar["exceptions"]["2022-10-03"] is False
    assert calendar["exceptions"]["2022-10-08"] is True
    answer = await town.office.put("/v1/calendar/2022", json={"exceptions": {"2023-01-02": False}})
    refused(answer, "R-33", "invalid-input", 422)
