"""A loan's whole life through lending's own surface, and the facts it tells the others."""

from __future__ import annotations

from datetime import date

from tests.lending.town import ALPHA, Town, done


async def test_a_loan_from_application_to_settlement_and_what_the_others_are_told(town: Town) -> None:
    application = await town.apply("3000000.00")
    assert application["state"] == "applied"
    approved = done(await town.approve(application, "3000000.00"))
    assert approved["state"] == "approved"
    assert approved["lapses_on"] == "2026-05-31"
    filed = await town.file(approved, "3000000.00")
    loan = done(filed)
    assert filed.status_code == 201
    assert filed.headers["location"] == f"/v1/loans/{loan['id']}"
    assert (loan["state"], loan["outstanding"], loan["long_term"]) == ("active", "3000000.00", False)
    assert loan["uscc"] == ALPHA

    dues = await town.dues(loan)
    assert (dues[0]["due_on"], dues[0]["interest"]) == ("2026-04-02", "9300.00")
    await town.move_to(date(2026, 4, 2))
    done(await town.repay(loan, "0.00", "9300.00"))
    await town.move_to(date(2026, 4, 3))
    assert (await town.loan(loan))["state"] == "active"

    await town.move_to(date(2026, 5, 4))
    overdue = await town.loan(loan)
    assert (overdue["state"], overdue["overdue_since"]) == ("overdue", "2026-05-02")
    report = done(await town.report(loan))
    assert (report["on_time"], report["unpaid_interest"]) == (True, "9000.00")
    done(await town.repay(loan, "0.00", "9000.00"))
    assert (await town.loan(loan))["state"] == "active"

    done(await town.repay(loan, "3000000.00", "600.00"))
    settled = await town.loan(loan)
    assert (settled["state"], settled["outstanding"]) == ("settled", "0.00")
    assert await town.room() == "10000000.00"
    told = [type(event).__name__ for event in await town.it.announced()]
    assert told == [
        "LoanApplied",
        "LoanApproved",
        "LoanFiled",
        "RepaymentRecorded",
        "OverdueDetected",
        "RepaymentOverdue",
        "RepaymentRecorded",
        "OverdueCured",
        "RepaymentRecorded",
        "LoanSettled",
    ]
