"""The fund's ledger: balanced, append-only, never negative, by the database itself (R-48)."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from services.compensation import books, fund
from shared.money import parse_money
from tests.compensation.town import Loan, Town
from tests.ground import DAY

INSERT = (
    "INSERT INTO fund_entry (kind, from_account, to_account, amount_fen, booked_on, value_date, document, "
    "recorded_by{more}) VALUES ('{kind}', '{source}', '{target}', {amount}, '2026-03-02', '2026-03-02', 'x', "
    "'x'{values})"
)


def fen(balances: dict[str, str]) -> dict[str, int]:
    return {account: parse_money(amount) for account, amount in balances.items()}


def holds(balances: dict[str, str]) -> bool:
    """R-48's equation, and no account negative."""
    b = fen(balances)
    return (
        min(b.values()) >= 0
        and b["appropriated"] + b["recovered"] == b["available"] + b["reserved"] + b["paid"]
    )


async def test_r48_appropriated_plus_recovered_is_available_plus_reserved_plus_paid(town: Town) -> None:
    await town.fund("5000000.00")
    assert holds(await town.balances())
    paid = await town.paid(await town.overdue(Loan(100_000_000)))
    assert holds(await town.balances())
    await town.approved(await town.overdue(Loan(200_000_000)))
    recovery = (await town.recover(paid, "100000.00")).json()
    await town.receive(recovery)
    balances = await town.balances()
    assert holds(balances)
    assert balances == {
        "appropriated": "5000000.00",
        "recovered": "60000.00",
        "available": "3260000.00",
        "reserved": "1200000.00",
        "paid": "600000.00",
        "written_off": "0.00",
    }


async def test_r48_the_balance_can_be_asked_for_as_of_any_day(town: Town) -> None:
    await town.fund("1000.00")
    await town.it.move_to(date(2026, 3, 5))
    await town.fund("500.00")
    on = [
        (await town.auditor.get("/v1/fund", params={"on": day})).json()
        for day in ("2026-03-01", "2026-03-04")
    ]
    assert [answer["available"] for answer in on] == ["0.00", "1000.00"]
    now = (await town.auditor.get("/v1/fund")).json()
    assert (now["on"], now["available"]) == ("2026-03-05", "1500.00")


async def test_r48_every_movement_stands_in_the_entries(town: Town) -> None:
    await town.fund("1000000.00")
    claim = await town.paid(await town.overdue(Loan(100_000_000)))
    entries = (await town.finance.get("/v1/fund/entries")).json()["items"]
    assert [(e["kind"], e["from_account"], e["to_account"], e["amount"]) for e in entries] == [
        ("payment", "reserved", "paid", "600000.00"),
        ("reservation", "available", "reserved", "600000.00"),
        ("appropriation", "appropriated", "available", "1000000.00"),
    ]
    one = await town.finance.get("/v1/fund/entries", params={"claim_id": claim["id"], "limit": 1})
    assert (one.json()["items"][0]["kind"], one.json()["next_cursor"] is None) == ("payment", False)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE fund_entry SET amount_fen = 1", "DELETE FROM fund_entry", "TRUNCATE fund_entry"],
)
async def test_r48_the_database_refuses_to_change_the_ledger(town: Town, statement: str) -> None:
    await town.fund()
    with pytest.raises(DBAPIError, match="append-only"):
        async with town.it.running.database.transaction() as session:
            await session.execute(text(statement))


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"kind": "appropriation", "amount": 0}, id="R-48 nothing moves"),
        pytest.param({"kind": "appropriation", "amount": -5}, id="R-48 a negative movement"),
        pytest.param({"kind": "appropriation", "source": "available"}, id="R-48 another account"),
        pytest.param({"kind": "gift"}, id="R-48 another kind"),
        pytest.param(
            {"kind": "reservation", "source": "available", "target": "reserved"}, id="R-48 no claim"
        ),
    ],
)
async def test_r48_the_database_refuses_what_is_no_movement(town: Town, entry: dict[str, Any]) -> None:
    whole = {"kind": "appropriation", "source": "appropriated", "target": "available", "amount": 5} | entry
    with pytest.raises(DBAPIError, match="check constraint"):
        async with town.it.running.database.transaction() as session:
            await session.execute(text(INSERT.format(more="", values="", **whole)))


@pytest.mark.parametrize(
    ("kind", "source", "target"),
    [
        ("reservation", "available", "reserved"),
        ("release", "reserved", "available"),
        ("payment", "reserved", "paid"),
        ("cost_share", "available", "paid"),
        ("write_off", "paid", "written_off"),
    ],
)
async def test_r48_the_database_refuses_a_negative_account(
    town: Town, kind: str, source: str, target: str
) -> None:
    claim_id = await town.claimed(await town.overdue(Loan(100_000_000)))
    await town.fund("0.99")
    statement = INSERT.format(
        kind=kind, source=source, target=target, amount=100, more=", claim_id", values=f", '{claim_id}'"
    )
    with pytest.raises(DBAPIError, match="would be negative"):
        async with town.it.running.database.transaction() as session:
            await session.execute(text(statement))


async def refusal_of(town: Town, kind: fund.Kind, amount: int, claim_id: str) -> str | None:
    """Try a movement; what the database says against it."""
    try:
        async with town.it.running.database.transaction() as session:
            await fund.lock(session)
            about = None if kind == "appropriation" else UUID(claim_id)
            fund.book(session, kind, amount, DAY, fund.Voucher(DAY, "x", "x"), claim_id=about)
    except DBAPIError as error:
        return str(error)
    return None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(sorted(fund.MOVEMENTS)), st.integers(1, 50)), max_size=25))
async def test_r48_any_sequence_of_movements_keeps_the_equation(
    town_with_any_books: Town, movements: list[tuple[fund.Kind, int]]
) -> None:
    """Whatever is tried, what the database lets in leaves a ledger that holds."""
    town = town_with_any_books
    loan = await town.overdue(Loan(100_000_000))
    claim_id = (await town.claim(loan)).json()["id"]
    for kind, amount in movements:
        refused = await refusal_of(town, kind, amount, claim_id)
        assert refused is None or "would be negative" in refused
        assert holds(await town.balances())


async def test_r48_only_finance_puts_money_in_and_only_watchers_look(town: Town) -> None:
    body = {"amount": "1.00", "document": "x"}
    for client in (town.bank, town.office, town.auditor, town.members["kjj"], town.enterprise):
        assert (await client.post("/v1/fund/appropriations", json=body)).status_code == 403
    for client in (town.bank, town.guarantor, town.enterprise):
        assert (await client.get("/v1/fund")).status_code == 403
        assert (await client.get("/v1/fund/entries")).status_code == 403


async def test_r48_an_appropriation_is_above_zero_and_not_in_the_future(town: Town) -> None:
    for more in ({"amount": "0.00"}, {"amount": "-1.00"}, {"amount": 5}, {"appropriated_on": "2026-03-03"}):
        body = {"amount": "1.00", "document": "x"} | more
        assert (await town.finance.post("/v1/fund/appropriations", json=body)).status_code == 422


async def test_r48_a_book_that_disagrees_with_the_claims_is_found(town: Town) -> None:
    """The database refuses all of these while its triggers stand; who takes them away is found."""
    await town.fund("5000000.00")
    claim = await town.paid(await town.overdue(Loan(100_000_000)))
    number, year = claim["number"], f"{claim['institution_id']} 2026"
    wrongs = {
        "UPDATE fund_entry SET amount_fen = 59999999 WHERE kind = 'payment'": [
            f"{number}: 599999.99 paid in the books, 600000.00 is due"
        ],
        "DELETE FROM fund_entry WHERE kind = 'reservation'": [
            "reserved is below zero",
            f"{number}: 0.00 reserved in the books, 600000.00 is due",
        ],
        "UPDATE institution_year SET cleared_fen = 0": [
            f"{year}: 0.00 cleared in the books, 600000.00 is due"
        ],
        "UPDATE payment SET amount_fen = 1 WHERE payer = 'fund'": [
            f"{number}: 600000.00 paid in the books, 0.01 is due"
        ],
    }
    for wrong, told in wrongs.items():
        async with town.it.running.database.engine.connect() as connection:
            await connection.execute(text("ALTER TABLE fund_entry DISABLE TRIGGER USER"))
            await connection.execute(text(wrong))
            async with AsyncSession(connection) as session:
                assert await books.faults(session) == told
            await connection.rollback()
