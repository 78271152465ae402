"""Signing in: people by name and password, machine clients by their credentials (RFC 6749 §4.4).

An unknown name and a wrong password get the same answer in the same time. After five failures in a
row an account is locked for fifteen minutes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import unquote_plus

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlmodel import col
from starlette.requests import Request
from starlette.responses import JSONResponse

from services.gateway.account import Account, Client
from services.gateway.keys import TOKEN_SECONDS, Keys
from shared.problems import Unauthenticated, refusals
from shared.rules import Text
from shared.service import Running

steps = APIRouter(tags=["identity"])
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
UNKNOWN = HASHER.hash("nobody has this password")
FAILURES_ALLOWED = 5
LOCKED_FOR = timedelta(minutes=15)


class SignIn(BaseModel):
    """A person's name and password."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, examples=["office"])
    password: str = Field(min_length=1, max_length=200)


class Token(BaseModel):
    """An access token (ES256 JWT) and how long it holds, in seconds."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int = TOKEN_SECONDS


class SignedIn(Token):
    name: str
    roles: list[str]
    party: str | None


async def hash_password(password: str) -> str:
    """argon2id in a worker thread, so that nobody waits for it."""
    return await asyncio.to_thread(HASHER.hash, password)


def _matches(password_hash: str, password: str) -> bool:
    try:
        return HASHER.verify(password_hash, password)
    except (VerifyMismatchError, InvalidHashError):
        return False


@steps.post("/v1/session", operation_id="sign_in", status_code=201, responses=refusals())
async def sign_in(body: SignIn, request: Request) -> SignedIn:
    """Sign in with name and password; the answer is an access token."""
    running = cast(Running, request.app.state.running)
    now = datetime.now(UTC)
    async with running.database.reading() as session:
        account = (
            await session.execute(select(Account).where(col(Account.name) == body.name))
        ).scalar_one_or_none()
    stored = account.password_hash if account else UNKNOWN
    right = await asyncio.to_thread(_matches, stored, body.password)
    locked = account is not None and account.locked_until is not None and account.locked_until > now
    if account is None or not right or not account.active or locked:
        if account is not None and not right and not locked:
            await _count_failure(running, account, now)
        raise Unauthenticated(
            Text(
                "用户名或密码不对，或账户已停用；连错五次锁定十五分钟",
                "Wrong name or password, or the account is closed; five failures lock it for 15 minutes",
            )
        )
    if account.failures:
        async with running.database.transaction() as session:
            row = await session.get_one(Account, account.id)
            row.failures, row.locked_until = 0, None
    keys = cast(Keys, request.app.state.keys)
    token = await keys.sign(claims_of(account, f"account:{account.id}", "person"))
    return SignedIn(access_token=token, name=account.display_name, roles=account.roles, party=account.party)


async def _count_failure(running: Running, account: Account, now: datetime) -> None:
    async with running.database.transaction() as session:
        row = await session.get_one(Account, account.id, with_for_update=True)
        row.failures += 1
        if row.failures >= FAILURES_ALLOWED:
            row.failures, row.locked_until = 0, now + LOCKED_FOR


def claims_of(holder: Account | Client, subject: str, kind: str) -> dict[str, Any]:
    return {
        "sub": subject,
        "name": holder.display_name,
        "roles": sorted(holder.roles),
        "party": holder.party,
        "kind": kind,
    }


@steps.post("/oauth2/token", operation_id="issue_token", response_model=Token, openapi_extra={
    "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": {
        "type": "object", "required": ["grant_type"], "properties": {
            "grant_type": {"type": "string", "enum": ["client_credentials"]},
            "client_id": {"type": "string"}, "client_secret": {"type": "string"}}}}}}})  # fmt: skip
async def issue_token(request: Request) -> JSONResponse:
    """Client credentials (RFC 6749 §4.4); the client authenticates by HTTP Basic or in the form."""
    running = cast(Running, request.app.state.running)
    form = await request.form()
    if form.get("grant_type") != "client_credentials":
        return _oauth_error("unsupported_grant_type", 400)
    client_id, secret = _credentials(
        request, str(form.get("client_id") or ""), str(form.get("client_secret") or "")
    )
    async with running.database.reading() as session:
        client = (
            await session.execute(select(Client).where(col(Client.id) == client_id))
        ).scalar_one_or_none()
    known = client.secret_sha256 if client else "0" * 64
    right = hmac.compare_digest(known, secret_hash(secret))
    if client is None or not right or not client.active:
        return _oauth_error("invalid_client", 401)
    keys = cast(Keys, request.app.state.keys)
    token = Token(access_token=await keys.sign(claims_of(client, f"client:{client.id}", "machine")))
    return JSONResponse(token.model_dump(), headers={"Cache-Control": "no-store"})


def secret_hash(secret: str) -> str:
    """A client secret is 256 random bits: a plain hash is enough to keep it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _credentials(request: Request, client_id: str, secret: str) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return client_id, secret
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(name), unquote_plus(password)


def _oauth_error(error: str, status: int) -> JSONResponse:
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="kechuang"'
    return JSONResponse({"error": error}, status, headers)


@steps.get("/.well-known/jwks.json", operation_id="get_keys")
async def get_keys(request: Request) -> JSONResponse:
    """The public keys access tokens are verified by (RFC 7517)."""
    keys = cast(Keys, request.app.state.keys)
    return JSONResponse(await keys.jwks(), headers={"Cache-Control": "public, max-age=60"})
