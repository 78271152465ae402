"""After the deaths: what the databases hold against what the clients were told.

Every accepted command took effect once (by the audit log, by the kept answers, by the rows it makes, by an
answer unchanged when it is sent again), every announced fact is on the bus and was taken in by everybody
who hears it, what services remember is what the log says, the seals hold and the fund's ledger balances.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal

from services.city import SERVICES
from services.run import make_bus
from shared.bus import Bus
from shared.events import TOPICS
from shared.settings import Settings
from tests.faults.load import MARK, Accepted, Load
from tests.quiet import Databases, databases
from tests.quiet import Row as Key

# ── commands ─────────────────────────────────────────────────────────────────────────────────────


def the_same(what: str, found: Iterable[Key], expected: Iterable[Key]) -> None:
    """Both hold the same, each as often. The failure names what is missing and what is too much."""
    have, want = Counter(found), Counter(expected)
    assert want, f"{what}: nothing was done"
    assert have == want, f"{what}: missing {want - have}, too much {have - want}"


async def every_command_took_effect_once(here: Databases, load: Load) -> None:
    """One audited deed and one kept answer for each accepted command, and none for anything else."""
    deeds, answers = list[Key](), list[Key]()
    for name in SERVICES:
        ours = "SELECT entry->>'request_id' FROM audit WHERE entry->>'request_id' LIKE $1"
        deeds += await here.rows(name, ours, MARK + "%")
        answers += await here.rows(name, "SELECT key, status FROM idempotency WHERE key NOT LIKE 'demo-%'")
    the_same("audited deeds", deeds, [(MARK + one.key,) for one in load.accepted])
    the_same("kept answers", answers, [(one.key, one.status) for one in load.accepted])


ROWS: dict[str, tuple[str, str]] = {
    "appropriation": (
        "compensation",
        f"SELECT id, document, amount_fen FROM fund_entry WHERE document LIKE '{MARK}%'",
    ),
    "guarantor": ("roster", "SELECT id::text, uscc FROM guarantor WHERE name LIKE '担保公司%'"),
    "nomination": ("roster", "SELECT id::text, uscc FROM nomination WHERE state = 'approved'"),
    "registration": ("roster", "SELECT id::text, uscc FROM registration"),
    "account": ("gateway", "SELECT id::text, name FROM account WHERE roles = ARRAY['enterprise']"),
    "application": ("lending", "SELECT id::text, uscc FROM application"),
    "loan": ("lending", "SELECT id::text, contract_number FROM loan"),
    "repayment": ("lending", "SELECT id::text, reference, principal_fen FROM repayment"),
    "report": ("lending", "SELECT loan_id::text FROM overdue_report"),
    "claim": ("compensation", "SELECT id::text, loan_id::text FROM claim WHERE state = 'paid'"),
    "payment": ("compensation", "SELECT claim_id::text, voucher FROM payment"),
}
"""For each kind of command the rows it makes, in the terms of `terms`."""


def fen(amount: str) -> int:
    return int(Decimal(amount) * 100)


def terms(one: Accepted) -> Key:
    """A command's row as the client knows it: from what it sent and what it was answered."""
    sent, told = one.body, one.answer
    match one.kind:
        case "appropriation":
            return told["id"], sent["document"], fen(sent["amount"])
        case "guarantor" | "nomination" | "registration":
            return told["id"], sent["uscc"]
        case "account":
            return told["id"], sent["name"]
        case "application":
            return told["id"], one.who.upper()
        case "loan":
            return told["id"], sent["contract_number"]
        case "repayment":
            return told["id"], sent["reference"], fen(sent["principal"])
        case "report":
            return (one.path.split("/")[3],)
        case "claim":
            return told["id"], sent["loan_id"]
        case _:
            return one.path.split("/")[3], sent["voucher"]


async def every_row_is_a_command_s(here: Databases, load: Load) -> None:
    """The rows are those the clients know of, each once, with the ids and amounts they were told."""
    for kind, (name, statement) in ROWS.items():
        the_same(kind, await here.rows(name, statement), map(terms, load.of(kind)))


async def every_answer_stands(load: Load) -> None:
    """Sent once more, each command is answered as the first time; only a code shown once is not."""
    for one in load.accepted:
        again = await load.answered(one.who, one.method, one.path, one.body, one.key)
        assert again.headers.get("idempotent-replayed") == "true", f"{one.path} ran anew"
        told = {**one.answer, "activation_code": None} if one.kind == "registration" else one.answer
        assert (again.status_code, again.json()) == (one.status, told), one.path


async def money_adds_up(here: Databases, load: Load) -> None:
    """The fund's ledger balances and holds what was put in and paid out; each loan what is left of it."""
    shown = await load.look("office", "/v1/fund")
    fund = {account: fen(amount) for account, amount in shown.items() if account != "on"}
    assert fund["appropriated"] + fund["recovered"] == fund["available"] + fund["reserved"] + fund["paid"]
    assert (fund["recovered"], fund["reserved"]) == (0, 0)
    put_in = sum(fen(one.body["amount"]) for one in load.of("appropriation"))
    before = "SELECT sum(amount_fen) FROM fund_entry WHERE kind = 'appropriation' AND document NOT LIKE $1"
    assert fund["appropriated"] == put_in + await here.value("compensation", before, MARK + "%")
    paid = await here.value("compensation", "SELECT sum(amount_fen) FROM payment WHERE payer = 'fund'")
    assert fund["paid"] == paid
    left: Counter[str] = Counter()
    for loan in load.of("loan"):
        left[loan.answer["id"]] = fen(loan.body["amount"])
    for repayment in load.of("repayment"):
        left[repayment.path.split("/")[3]] -= fen(repayment.body["principal"])
    standing = await here.rows("lending", "SELECT id::text, outstanding_fen FROM loan")
    the_same("outstanding", standing, left.items())


# ── facts ────────────────────────────────────────────────────────────────────────────────────────

ANNOUNCED: dict[str, tuple[str, ...]] = {
    "GuarantorAdmitted": ("guarantor",),
    "EnterpriseListed": ("nomination",),
    "EnterpriseRegistered": ("registration",),
    "LoanApplied": ("application",),
    "LoanApproved": ("approval",),
    "LoanFiled": ("loan",),
    "RepaymentRecorded": ("repayment",),
    "RepaymentOverdue": ("report",),
    "OverdueDetected": ("report",),
    "ClaimSubmitted": ("claim",),
    "ClaimApproved": ("claim",),
    "CompensationPaid": ("payment",),
    "ProjectBarSet": ("claim", "payment"),
    "SandboxClockMoved": ("clock",),
}
"""Facts and the commands each of which makes it one time. `ProjectBarSet` is announced because others'
facts were heard: one heard twice would show here. The demo city's own guarantor is beside them."""


async def every_fact_was_announced_once(here: Databases, load: Load) -> None:
    found = Counter[object]()
    for name in SERVICES:
        found.update(kind for (kind,) in await here.rows(name, "SELECT type FROM outbox"))
    expected = {fact: sum(len(load.of(kind)) for kind in kinds) for fact, kinds in ANNOUNCED.items()}
    expected["GuarantorAdmitted"] += 1
    assert {fact: found[fact] for fact in ANNOUNCED} == expected


async def every_fact_is_on_the_bus(here: Databases, bus: Bus) -> None:
    """What a service announced is on its topic, unchanged, nothing else is, and the facts of one key
    stand there in the order they were announced in (a repeat of an earlier one may follow)."""
    for name in SERVICES:
        announced = await here.rows(name, "SELECT event_id, topic, key, type, data FROM outbox ORDER BY seq")
        published = [
            (fact.event_id, fact.topic, fact.key, fact.type, fact.data.decode())
            async for batch in bus.history([f"kechuang.{name}"])
            for fact in batch
        ]
        assert set(published) == set(announced), name
        assert _by_key(dict.fromkeys(published)) == _by_key(announced), name


def _by_key(facts: Iterable[Key]) -> dict[object, list[object]]:
    order: dict[object, list[object]] = {}
    for event_id, _, key, *_ in facts:
        order.setdefault(key, []).append(event_id)
    return order


async def every_fact_was_taken_in_once(here: Databases, bus: Bus) -> None:
    """Each hearing service has every fact of its topics in its inbox, none was buried."""
    for name, service in SERVICES.items():
        heard = {fact.event_id async for batch in bus.history(service.hears) for fact in batch}
        taken_in = await here.rows(name, "SELECT event_id FROM inbox")
        the_same(f"{name}'s inbox", taken_in, [(event_id,) for event_id in heard])
    for topic in TOPICS:
        assert list(await bus.dead_letters(topic)) == [], topic


EFFECTS: tuple[tuple[str, str, str, str], ...] = (
    # who speaks, what it holds; who hears, what it made of it
    (
        "lending", "SELECT id::text, outstanding_fen, interest_received_fen FROM loan",
        "compensation", "SELECT loan_id::text, outstanding_fen, interest_received_fen FROM covered_loan",
    ),
    (
        "lending", "SELECT id::text, loan_id::text FROM overdue_report",
        "compensation", "SELECT report_id::text, loan_id::text FROM overdue_report",
    ),
    (
        "compensation",
        "SELECT c.id::text, c.state, p.amount_fen FROM claim c JOIN payment p ON p.claim_id = c.id",
        "lending", "SELECT claim_id::text, state, fund_paid_fen FROM claim",
    ),
    (
        "compensation", "SELECT id::text, uscc, approved_on FROM claim",
        "roster", "SELECT claim_id::text, uscc, began_on FROM project_bar WHERE until IS NOT NULL",
    ),
    (
        "roster", "SELECT uscc, registered_on IS NOT NULL FROM registration",
        "lending", "SELECT uscc, registered FROM borrower WHERE listed IS NOT NULL",
    ),
    (
        "roster", "SELECT id::text, name FROM institution",
        "lending", "SELECT institution_id::text, name FROM lender",
    ),
    (
        "roster", "SELECT id::text, name FROM guarantor",
        "lending", "SELECT guarantor_id::text, name FROM guarantor",
    ),
    (
        "roster", "SELECT id::text, uscc FROM registration",
        "gateway", "SELECT registration_id::text, uscc FROM registration",
    ),
)  # fmt: skip


async def every_fact_had_its_effect(here: Databases) -> None:
    """What the hearing service holds is what the speaking one does, row by row."""
    for speaks, said, hears, made in EFFECTS:
        what = f"{speaks} told {hears}: {made}"
        the_same(what, await here.rows(hears, made), await here.rows(speaks, said))


async def all_is_well(here: Databases, bus: Bus, load: Load) -> None:
    """Everything of this page that is asked of the databases, of the bus and of the running system."""
    await here.quiet()
    await every_answer_stands(load)
    await every_command_took_effect_once(here, load)
    await every_row_is_a_command_s(here, load)
    await money_adds_up(here, load)
    await every_fact_was_announced_once(here, load)
    await every_fact_is_on_the_bus(here, bus)
    await every_fact_was_taken_in_once(here, bus)
    await every_fact_had_its_effect(here)


async def reckon(settings: Settings, load: Load, tool: Callable[..., Awaitable[tuple[int, str]]]) -> None:
    """The city is whole: asked of everything there is, and by the operator's own tools: the seals hold,
    the fund's books agree, each service's memory rebuilt from the whole log is the one it has."""
    bus = make_bus(settings)
    await bus.start()
    async with databases(settings) as here:
        await all_is_well(here, bus, load)
    await bus.close()
    asked = [("check",), *(("replay", name) for name, service in SERVICES.items() if service.memory)]
    for status, told in await asyncio.gather(*(tool(*words) for words in asked)):
        assert status == 0, told
