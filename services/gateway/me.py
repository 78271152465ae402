"""One's own account: who the token is for, and changing the password."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlmodel import col
from starlette.requests import Request

from services.gateway.account import Account
from services.gateway.lockout import TooManyFailures
from services.gateway.passwords import Password, demand_strength
from services.gateway.shown import AccountShown, end_access, shown
from services.gateway.signing_in import door, request_id
from shared.problems import NotFound, Unavailable, refusals
from shared.rules import Text
from shared.service import Caller, Session, router

steps = router("identity")


class Me(BaseModel):
    """Who the token is for."""

    subject: str = Field(examples=["account:0192f3a0-1c1b-7d5e-9b1a-2f6d5a3c4e5f"])
    name: str = Field(examples=["工商银行 陈晨"])
    roles: list[str] = Field(examples=[["institution"]])
    party: str | None = Field(examples=["0192f3a0-1c1b-7d5e-9b1a-2f6d5a3c4e5f"])
    machine: bool = Field(examples=[False])


class NewPassword(BaseModel):
    """The password until now, and the one from now on."""

    model_config = ConfigDict(extra="forbid")

    current: str = Field(min_length=1, max_length=200, examples=["pinghu-tide-1984"])
    password: Password


@steps.get("/v1/me", operation_id="get_me")
async def get_me(who: Caller) -> Me:
    """Who the token is for."""
    return Me(
        subject=who.subject, name=who.name, roles=sorted(who.roles), party=who.party, machine=who.machine
    )


@steps.post(
    "/v1/me/password",
    operation_id="change_password",
    responses=refusals(NotFound, TooManyFailures, Unavailable),
)
async def change_password(body: NewPassword, who: Caller, session: Session, request: Request) -> AccountShown:
    """Change one's own password. Every token issued until now ends: sign in anew."""
    kind, _, account_id = who.subject.partition(":")
    if kind != "account":
        raise NotFound(Text("接口客户端没有密码", "A machine client has no password"))
    query = select(col(Account.name)).where(col(Account.id) == UUID(account_id))
    name = (await session.execute(query)).scalar_one()
    demand_strength(body.password, name)
    changers = door(request).changers
    if changers.locked():
        raise Unavailable(
            Text("正在修改密码的人过多，请稍后再试", "Too many at once; try again in a moment"),
            headers={"Retry-After": "2"},
        )
    async with changers:
        await door(request).check(
            name, body.current, operation="change_password", request_id=request_id(request)
        )
    account = await session.get_one(Account, UUID(account_id), with_for_update=True)
    account.password_hash = await door(request).passwords.hash(body.password)
    end_access(account, request)
    return shown(account)
