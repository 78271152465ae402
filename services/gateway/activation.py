"""Whoever holds a code sets the password of an account: an enterprise with the code of its registration
(R-08), a person with the code the office was shown.

The gateway hears `EnterpriseRegistered`, which carries only the code's hash; the code itself was shown
once, to whoever registered.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.account import Account, ActivationUsed, Registration
from services.gateway.keys import utc_now
from services.gateway.passwords import Password, demand_strength
from services.gateway.shown import AccountMade, AccountShown, Name, NameTaken, end_access, refuse_taken, shown
from services.gateway.signing_in import door
from shared.database import AsyncSession, new_id
from shared.events import EnterpriseRegistered
from shared.problems import NotFound, refusals
from shared.rules import Text
from shared.service import News, Session, router

steps = router("identity")
CODE_HOLDS = timedelta(days=14)


class Activate(BaseModel):
    """The code, the name to sign in with (an enterprise chooses it; others were told theirs), and the
    password."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(min_length=16, max_length=100, examples=["Qv8mY0cW3s5nT1kZb7Lx2A"])
    name: Name
    password: Password


def code_hash(code: str) -> str:
    """An activation code is 128 random bits: a plain hash is enough to keep it."""
    return hashlib.sha256(code.encode()).hexdigest()


def give_code(account: Account, request: Request, status: int) -> AccountMade:
    """Give the account a new code. What is kept for a repeat of the request does not have it."""
    code = secrets.token_urlsafe(16)
    account.activation = code_hash(code)
    account.activation_until = door(request).now() + CODE_HOLDS
    made = AccountMade(
        **shown(account).model_dump(), activation_code=code, activation_until=account.activation_until
    )
    without = made.model_copy(update={"activation_code": None}).model_dump(mode="json")
    headers = {"Location": f"/v1/accounts/{account.id}"} if status == 201 else None
    request.state.answer_to_keep = JSONResponse(without, status, headers)
    return made


@steps.post(
    "/v1/accounts/activation",
    operation_id="activate_account",
    status_code=201,
    responses=refusals(NotFound, NameTaken),
)
async def activate_account(
    body: Activate, session: Session, news: News, request: Request, response: Response
) -> AccountShown:
    """Set the password of the account the code is for; the code works once. The account of a
    registered enterprise is made by it."""
    activation = code_hash(body.code)
    demand_strength(body.password, body.name)

    async def waiting() -> Account | Registration | None:
        return await _invited(session, body.name, activation, request) or await _registered(
            session, activation
        )

    strangers = door(request).strangers
    if strangers.locked():
        found = await waiting()
    else:
        async with strangers:
            found = await news.wait_for(waiting)
    if found is None:
        raise NotFound(
            Text(
                "激活码无效、已使用或已过期，或与用户名不符",
                "The code is unknown, used or expired, or not for this name",
            ),
            rule="R-08",
        )
    account = found if isinstance(found, Account) else await _account_of(session, found, body.name)
    account.password_hash = await door(request).passwords.hash(body.password)
    account.activation = account.activation_until = None
    session.add(account)
    response.headers["Location"] = f"/v1/accounts/{account.id}"
    return shown(account)


async def _invited(session: AsyncSession, name: str, activation: str, request: Request) -> Account | None:
    query = select(Account).where(
        col(Account.activation) == activation,
        col(Account.name) == name,
        col(Account.active),
        col(Account.activation_until) > door(request).now(),
    )
    return (await session.execute(query.with_for_update())).scalar_one_or_none()


async def _registered(session: AsyncSession, activation: str) -> Registration | None:
    used = exists().where(col(ActivationUsed.activation) == col(Registration.activation))
    query = select(Registration).where(col(Registration.activation) == activation, ~used)
    return (await session.execute(query)).scalar_one_or_none()


async def _account_of(session: AsyncSession, registration: Registration, name: str) -> Account:
    """The enterprise's new account; a twin that used the code first makes the note fail."""
    await refuse_taken(session, name)
    account = Account(
        id=new_id(),
        name=name,
        display_name=registration.name,
        roles=["enterprise"],
        party=registration.uscc,
        created_at=utc_now(),
    )
    session.add(account)
    await session.flush()
    session.add(ActivationUsed(activation=registration.activation, account_id=account.id))
    await session.flush()
    return account


@steps.post(
    "/v1/accounts/{account_id}/activation-code",
    operation_id="renew_activation_code",
    responses=refusals(NotFound),
)
async def renew_activation_code(account_id: UUID, session: Session, request: Request) -> AccountMade:
    """A new code for somebody who lost the password or the code. The old password and the tokens it
    got end at once."""
    account = await session.get(Account, account_id, with_for_update=True)
    if account is None or not account.active:
        raise NotFound(Text("没有这个账户，或已停用", "No such account, or closed"))
    account.password_hash = None
    end_access(account, request)
    return give_code(account, request, 200)


async def remember_registration(session: AsyncSession, events: Sequence[EnterpriseRegistered]) -> None:
    """Keep the hash of each code, for `activate_account`."""
    rows = [event.model_dump(include={"registration_id", "uscc", "name", "activation"}) for event in events]
    await session.execute(insert(Registration).on_conflict_do_nothing(), rows)
