"""R-08: a registered enterprise turns its code into its account."""

from __future__ import annotations

import asyncio
import hashlib
import time
from uuid import uuid4

from services.gateway.app import SERVICE
from shared.bus import Outgoing
from shared.events import EnterpriseRegistered
from shared.outbox import row_of
from tests.gateway.gate import PASSWORD, Gate
from tests.ground import DAY

CODE = "code-of-the-registration"
USCC = "91330482MA2JHWXX9D"


async def registered(it: Gate, code: str = CODE, uscc: str = USCC) -> EnterpriseRegistered:
    """Roster says that an enterprise has registered."""
    event = EnterpriseRegistered(
        business_date=DAY,
        measures="2022-06-26",
        uscc=uscc,
        name="平湖某某科技有限公司",
        registration_id=uuid4(),
        activation=hashlib.sha256(code.encode()).hexdigest(),
    )
    await tell(it, event)
    return event


async def tell(it: Gate, event: EnterpriseRegistered) -> None:
    row = row_of(event, None)
    data = row["data"].encode()
    await it.bus.publish(
        [Outgoing(row["topic"], row["key"], row["event_id"], row["type"], row["time"], None, data)]
    )


async def test_r08_the_code_of_the_registration_becomes_the_enterprises_account(it: Gate) -> None:
    body = {"code": CODE, "name": "mou-mou", "password": PASSWORD}
    await registered(it)
    made = await it.client().post("/v1/accounts/activation", json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["roles"], made.json()["party"]) == (["enterprise"], USCC)
    signed_in = await it.sign_in("mou-mou")
    me = (await it.client(signed_in.json()["access_token"]).get("/v1/me")).json()
    assert (me["roles"], me["party"], me["name"]) == (["enterprise"], USCC, "平湖某某科技有限公司")


async def test_r08_a_code_still_on_its_way_is_waited_for(it: Gate) -> None:
    body = {"code": CODE, "name": "mou-mou", "password": PASSWORD}
    activating = asyncio.create_task(it.client().post("/v1/accounts/activation", json=body))
    await asyncio.sleep(0)
    await registered(it)
    assert (await activating).status_code == 201


async def test_r08_a_code_works_once_also_when_twenty_try_at_once(it: Gate) -> None:
    await registered(it)
    names = [f"mou-{n}" for n in range(20)]
    bodies = [{"code": CODE, "name": name, "password": PASSWORD} for name in names]
    answers = await asyncio.gather(
        *(it.client().post("/v1/accounts/activation", json=body) for body in bodies)
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [404] * 19
    assert {a.json()["rule"] for a in answers if a.status_code == 404} == {"R-08"}


async def test_r08_a_taken_name_leaves_the_code_usable(it: Gate) -> None:
    await it.account("mou-mou")
    await registered(it)
    body = {"code": CODE, "name": "mou-mou", "password": PASSWORD}
    assert (await it.client().post("/v1/accounts/activation", json=body)).status_code == 409
    again = await it.client().post("/v1/accounts/activation", json=body | {"name": "mou-mou-2"})
    assert again.status_code == 201


async def test_r08_a_registration_heard_twice_is_one_and_a_second_one_has_its_own_code(it: Gate) -> None:
    first = await registered(it)
    await tell(it, first.model_copy(update={"event_id": uuid4()}))
    await registered(it, "code-of-the-second-registration")
    for number, code in enumerate((CODE, "code-of-the-second-registration")):
        body = {"code": code, "name": f"mou-{number}", "password": PASSWORD}
        answer = await it.client().post("/v1/accounts/activation", json=body)
        assert (answer.status_code, answer.json()["party"]) == (201, USCC)


async def test_many_unknown_codes_at_once_do_not_hold_the_connections(it: Gate) -> None:
    """Only a few strangers wait for news at once; the others are answered at once, and so is the office."""
    guesses = [
        asyncio.create_task(
            it.client().post(
                "/v1/accounts/activation",
                json={"code": f"a guess of a code, {n}", "name": f"mou-{n}", "password": PASSWORD},
            )
        )
        for n in range(50)
    ]
    began = time.monotonic()
    assert (await (await it.office()).get("/v1/accounts")).status_code == 200
    assert time.monotonic() - began < 1.5
    assert {answer.status_code for answer in await asyncio.gather(*guesses)} == {404}


def test_what_is_remembered_can_be_rebuilt_from_the_log() -> None:
    assert set(SERVICE.memory) == {"registration"}
    assert set(SERVICE.remembers) == {EnterpriseRegistered}
