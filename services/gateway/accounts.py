"""The office makes and ends accounts of people and clients of core systems.

`python -m services.gateway.accounts` makes the first office account of an installation; it reads the
password from standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select, update
from sqlmodel import col
from starlette.responses import Response

from services.gateway.account import Account, Client
from services.gateway.token import hash_password, secret_hash
from shared.database import Database, new_id
from shared.identity import Role
from shared.pages import Cursor, Limit, Page, page
from shared.problems import InvalidInput, NotFound, Refusal, refusals
from shared.rules import Text
from shared.service import Caller, Session, router
from shared.settings import Settings

steps = router("identity")
NEEDS_PARTY = ("institution", "guarantor", "enterprise", "member")
Password = Annotated[str, Field(min_length=10, max_length=200)]


class NameTaken(Refusal):
    """Another account has this name."""

    title = Text("名称已被使用", "Name taken")


class Holder(BaseModel):
    """Who an account or client is for: its roles, and the party it acts for (an institution's or
    guarantor's id, an enterprise's USCC, a member unit's code)."""

    model_config = ConfigDict(extra="forbid")

    display_name: str = Field(min_length=1, max_length=100)
    roles: list[Role] = Field(min_length=1, max_length=3)
    party: str | None = Field(default=None, max_length=64)


class NewAccount(Holder):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{1,63}$", examples=["icbc-chen"])
    password: Password


class AccountShown(BaseModel):
    id: UUID
    name: str
    display_name: str
    roles: list[str]
    party: str | None
    active: bool


class NewClient(Holder):
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{2,63}$", examples=["icbc-core"])


class ClientMade(BaseModel):
    """A new client. The secret is shown this once."""

    id: str
    display_name: str
    roles: list[str]
    party: str | None
    secret: str


class Me(BaseModel):
    """Who the token is for."""

    subject: str
    name: str
    roles: list[str]
    party: str | None
    machine: bool


class NewPassword(BaseModel):
    model_config = ConfigDict(extra="forbid")

    password: Password


def _party_fits(holder: Holder) -> None:
    if any(role in NEEDS_PARTY for role in holder.roles) and not holder.party:
        raise InvalidInput(
            Text("这一角色须写明所代表的单位 party", "This role needs the party it acts for"),
            errors=[{"pointer": "#/party", "detail": "required for this role"}],
        )


@steps.post("/v1/accounts", operation_id="create_account", status_code=201, responses=refusals(NameTaken))
async def create_account(body: NewAccount, session: Session, response: Response) -> AccountShown:
    """Make an account for a person."""
    _party_fits(body)
    if (await session.execute(select(col(Account.id)).where(col(Account.name) == body.name))).first():
        raise NameTaken(Text(f"用户名 {body.name} 已有人用", f"The name {body.name} is taken"))
    account = Account(
        id=new_id(),
        name=body.name,
        display_name=body.display_name,
        password_hash=await hash_password(body.password),
        roles=list(body.roles),
        party=body.party,
        created_at=datetime.now(UTC),
    )
    session.add(account)
    response.headers["Location"] = f"/v1/accounts/{account.id}"
    return AccountShown.model_validate(account, from_attributes=True)


@steps.get("/v1/accounts", operation_id="list_accounts", response_model=Page[AccountShown])
async def list_accounts(session: Session, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """All accounts by name."""
    query = select(
        col(Account.id),
        col(Account.name),
        col(Account.display_name),
        col(Account.roles),
        col(Account.party),
        col(Account.active),
    )
    return await page(session, query, order=[col(Account.name)], limit=limit, cursor=cursor)


@steps.post(
    "/v1/accounts/{account_id}/deactivation", operation_id="deactivate_account", responses=refusals(NotFound)
)
async def deactivate_account(account_id: UUID, session: Session) -> AccountShown:
    """Close an account; a token it holds still runs out within minutes."""
    account = await session.get(Account, account_id, with_for_update=True)
    if account is None:
        raise NotFound(Text("没有这个账户", "No such account"))
    account.active = False
    return AccountShown.model_validate(account, from_attributes=True)


@steps.post("/v1/clients", operation_id="create_client", status_code=201, responses=refusals(NameTaken))
async def create_client(body: NewClient, session: Session) -> ClientMade:
    """Make a client for a core system; its secret is shown this once."""
    _party_fits(body)
    if await session.get(Client, body.id):
        raise NameTaken(Text(f"客户端 {body.id} 已存在", f"The client {body.id} exists"))
    secret = secrets.token_urlsafe(32)
    client = Client(
        id=body.id,
        display_name=body.display_name,
        secret_sha256=secret_hash(secret),
        roles=list(body.roles),
        party=body.party,
        created_at=datetime.now(UTC),
    )
    session.add(client)
    return ClientMade(
        id=client.id, display_name=client.display_name, roles=client.roles, party=client.party, secret=secret
    )


@steps.post("/v1/clients/{client_id}/revocation", operation_id="revoke_client", responses=refusals(NotFound))
async def revoke_client(client_id: str, session: Session) -> dict[str, bool]:
    """Revoke a client: it gets no more tokens."""
    client = await session.get(Client, client_id, with_for_update=True)
    if client is None:
        raise NotFound(Text("没有这个客户端", "No such client"))
    client.active = False
    return {"active": False}


@steps.get("/v1/me", operation_id="get_me")
async def get_me(who: Caller) -> Me:
    """Who the token is for."""
    return Me(
        subject=who.subject, name=who.name, roles=sorted(who.roles), party=who.party, machine=who.machine
    )


@steps.post("/v1/me/password", operation_id="change_password", responses=refusals(NotFound))
async def change_password(body: NewPassword, who: Caller, session: Session) -> dict[str, bool]:
    """Change one's own password."""
    kind, _, account_id = who.subject.partition(":")
    if kind != "account":
        raise NotFound(Text("接口客户端没有密码", "A machine client has no password"))
    hashed = await hash_password(body.password)
    await session.execute(
        update(Account).where(col(Account.id) == UUID(account_id)).values(password_hash=hashed)
    )
    return {"changed": True}


async def _create_first(settings: Settings, name: str, role: Literal["office"], password: str) -> None:
    database = Database(settings.gateway_database_url, pool=1)
    try:
        async with database.transaction() as session:
            session.add(
                Account(
                    id=new_id(),
                    name=name,
                    display_name=name,
                    password_hash=await hash_password(password),
                    roles=[role],
                    created_at=datetime.now(UTC),
                )
            )
    finally:
        await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.gateway.accounts", description=__doc__)
    parser.add_argument("name")
    chosen = parser.parse_args()
    password = sys.stdin.readline().rstrip("\n")
    if len(password) < 10:
        sys.exit("the password needs at least 10 characters")
    asyncio.run(_create_first(Settings(), chosen.name, "office", password))
    print(f"{chosen.name} may sign in with role office")


if __name__ == "__main__":
    main()
