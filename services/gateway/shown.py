"""Accounts as requests name them and answers show them, without their secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlmodel import col
from starlette.requests import Request

from services.gateway.account import Account, Client
from services.gateway.signing_in import door
from shared.database import AsyncSession
from shared.problems import Refusal
from shared.rules import Text

Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{1,63}$",
        description="What the person signs in with.",
        examples=["icbc-chen"],
    ),
]


class NameTaken(Refusal):
    """Another account or client has this name."""

    title = Text("名称已被使用", "Name taken")


class AccountShown(BaseModel):
    """An account of a person."""

    id: UUID = Field(examples=["0192f3a0-1c1b-7d5e-9b1a-2f6d5a3c4e5f"])
    name: str = Field(examples=["icbc-chen"])
    display_name: str = Field(examples=["工商银行 陈晨"])
    roles: list[str] = Field(examples=[["institution"]])
    party: str | None = Field(examples=["0192f3a0-1c1b-7d5e-9b1a-2f6d5a3c4e5f"])
    active: bool = Field(examples=[True])


class AccountMade(AccountShown):
    """The account, and the code its person sets the password with. The code is shown this once: a
    repeat of the request is answered without it."""

    activation_code: str | None = Field(default=None, examples=["Qv8mY0cW3s5nT1kZb7Lx2A"])
    activation_until: datetime | None = Field(default=None, examples=["2026-03-16T08:00:00Z"])


def shown(account: Account) -> AccountShown:
    return AccountShown.model_validate(account, from_attributes=True)


async def refuse_taken(session: AsyncSession, name: str) -> None:
    """Raises NameTaken when an account has the name."""
    if (await session.execute(select(col(Account.id)).where(col(Account.name) == name))).first():
        raise NameTaken(Text(f"用户名 {name} 已有人用", f"The name {name} is taken"))


def end_access(holder: Account | Client, request: Request) -> None:
    """Tokens issued until now are no longer taken, in this process as soon as it is committed."""
    holder.access_ended_at = door(request).now()
    request.state.after_commit = request.app.state.ended.refresh
