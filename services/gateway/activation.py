"""A registered enterprise turns the code of its registration into its account (R-08).

The gateway hears `EnterpriseRegistered`, which carries only the code's hash; the code itself was shown
once, to whoever registered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.gateway.account import Account, Registration
from services.gateway.accounts import AccountShown, NameTaken, Password
from services.gateway.token import hash_password
from shared.database import new_id
from shared.events import EnterpriseRegistered
from shared.problems import NotFound, refusals
from shared.rules import Text
from shared.service import News, Session, router

steps = router("identity")


class Activate(BaseModel):
    """The code of the registration, and the name and password the enterprise chooses."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(min_length=16, max_length=100)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{1,63}$")
    password: Password


@steps.post(
    "/v1/accounts/activation",
    operation_id="activate_account",
    status_code=201,
    responses=refusals(NotFound, NameTaken),
)
async def activate_account(body: Activate, session: Session, news: News) -> AccountShown:
    """Make the account of a registered enterprise; the code works once."""
    activation = hashlib.sha256(body.code.encode()).hexdigest()
    waiting = (
        select(Registration)
        .where(col(Registration.activation) == activation, col(Registration.activated).is_(False))
        .with_for_update()
    )

    async def fetch() -> Registration | None:
        return (await session.execute(waiting)).scalar_one_or_none()

    registration = await news.wait_for(fetch)
    if registration is None:
        raise NotFound(
            Text(
                "激活码无效或已使用；请核对注册回执",
                "The code is unknown or used; see the registration's answer",
            ),
            rule="R-08",
        )
    if (await session.execute(select(col(Account.id)).where(col(Account.name) == body.name))).first():
        raise NameTaken(Text(f"用户名 {body.name} 已有人用", f"The name {body.name} is taken"))
    registration.activated = True
    account = Account(
        id=new_id(),
        name=body.name,
        display_name=registration.name,
        password_hash=await hash_password(body.password),
        roles=["enterprise"],
        party=registration.uscc,
        created_at=datetime.now(UTC),
    )
    session.add(account)
    return AccountShown.model_validate(account, from_attributes=True)


async def remember_registration(session: AsyncSession, events: Sequence[EnterpriseRegistered]) -> None:
    rows = [{"uscc": e.uscc, "name": e.name, "activation": e.activation, "activated": False} for e in events]
    await session.execute(insert(Registration).on_conflict_do_nothing(), rows)
