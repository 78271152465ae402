"""People sign in by name and password; the answer is a short access token.

A sign-in changes no case, so it is no command with an idempotency key: a token is never kept. Every
attempt is audited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlmodel import col
from starlette.requests import Request

from services.gateway.account import Account
from services.gateway.keys import TOKEN_SECONDS, Keys, claims_of, utc_now
from services.gateway.lockout import TooManyFailures, count_failure, forget_failures, refuse_when_locked
from services.gateway.passwords import HASHER, Passwords
from shared import audit
from shared.database import AsyncSession, Database, new_id
from shared.problems import Unauthenticated, Unavailable, refusals
from shared.rules import Text

steps = APIRouter(tags=["identity"])


class SignIn(BaseModel):
    """A person's name and password."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, examples=["office"])
    password: str = Field(min_length=1, max_length=200, examples=["pinghu-tide-1984"])


class Token(BaseModel):
    """An access token (ES256 JWT) and how long it holds, in seconds."""

    access_token: str = Field(examples=["eyJhbGciOiJFUzI1NiIsImtpZCI6Ii4uLiJ9.eyJzdWIiOiIuLi4ifQ.c2ln"])
    token_type: str = Field(default="Bearer", examples=["Bearer"])
    expires_in: int = Field(default=TOKEN_SECONDS, examples=[TOKEN_SECONDS])


class SignedIn(Token):
    """The token, and who it is for."""

    name: str = Field(examples=["Office"])
    roles: list[str] = Field(examples=[["office"]])
    party: str | None = Field(examples=[None])


@dataclass(frozen=True)
class Admitted:
    """Whose name and password it was, and when that began to be checked: a token counts as issued then, so
    that access ended since is ended for it too."""

    account: Account
    at: datetime


@dataclass
class Door:
    """Checks names and passwords: for signing in, and before one's own password is changed."""

    database: Database
    passwords: Passwords
    now: Callable[[], datetime] = utc_now
    strangers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    """How many who hold no token may wait for news at once (each holds a connection meanwhile)."""
    changers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """How many may have their password checked within a command (each holds two connections meanwhile)."""

    async def check(self, name: str, password: str, *, operation: str, request_id: str) -> Admitted:
        """The account of this name and password. Raises Unauthenticated, with one answer after one
        time for an unknown name, a wrong password and a closed account; TooManyFailures when locked."""
        async with self.passwords.one_guess(name):
            now = self.now()
            async with self.database.reading() as session:
                await refuse_when_locked(session, name, now)
                query = select(Account).where(col(Account.name) == name)
                account = (await session.execute(query)).scalar_one_or_none()
            known = account.password_hash if account is not None and account.active else None
            right = await self.passwords.match(known, password)
            async with self.database.transaction() as session:
                _audit(session, account, operation, request_id, now)
                row = await _unchanged(session, account) if account is not None and right else None
                audit.note(session, account.subject if account else "nobody", right=row is not None)
                if row is not None:
                    await forget_failures(session, name)
                    await self._renew_hash(row, password)
                else:
                    await count_failure(session, name, now)
        if row is None:
            raise Unauthenticated(Text("用户名或密码不对，或账户已停用", "Wrong name or password, or closed"))
        return Admitted(row, now)

    async def _renew_hash(self, row: Account, password: str) -> None:
        """A hash of weaker parameters than today's is replaced while the password is at hand."""
        if row.password_hash and HASHER.check_needs_rehash(row.password_hash):
            row.password_hash = await self.passwords.hash(password)


async def _unchanged(session: AsyncSession, account: Account) -> Account | None:
    """The account, held; None when it was closed or got another password while this one was checked."""
    row = await session.get_one(Account, account.id, with_for_update=True)
    return row if row.active and row.password_hash == account.password_hash else None


def _audit(
    session: AsyncSession, account: Account | None, operation: str, request_id: str, now: datetime
) -> None:
    audit.begin(
        session,
        audit.Deed(
            operation=operation,
            at=now,
            subject=account.subject if account else "nobody",
            name=account.display_name if account else "",
            roles=tuple(sorted(account.roles)) if account else (),
            party=account.party if account else None,
            request_id=request_id,
        ),
    )


def door(request: Request) -> Door:
    """The door of the running gateway."""
    return cast(Door, request.app.state.door)


def request_id(request: Request) -> str:
    return request.headers.get("x-request-id") or str(new_id())


@steps.post(
    "/v1/session", operation_id="sign_in", status_code=201, responses=refusals(TooManyFailures, Unavailable)
)
async def sign_in(body: SignIn, request: Request) -> SignedIn:
    """Sign in with name and password; the answer is an access token."""
    admitted = await door(request).check(
        body.name, body.password, operation="sign_in", request_id=request_id(request)
    )
    account = admitted.account
    token = await cast(Keys, request.app.state.keys).sign(claims_of(account), admitted.at)
    return SignedIn(access_token=token, name=account.display_name, roles=account.roles, party=account.party)
