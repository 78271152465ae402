"""Machine clients get their tokens by client credentials (RFC 6749 §4.4); everybody verifies tokens by
the published keys (RFC 7517)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any, cast
from urllib.parse import unquote_plus

from fastapi import APIRouter
from sqlalchemy import select
from sqlmodel import col
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse

from services.gateway.account import Client
from services.gateway.keys import Keys, claims_of
from services.gateway.signing_in import Token, door
from shared.service import Running

steps = APIRouter(tags=["identity"])
FORM = "application/x-www-form-urlencoded"
UNKNOWN = "0" * 64
FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "enum": ["client_credentials"]},
        "client_id": {"type": "string", "description": "Unless sent by HTTP Basic."},
        "client_secret": {"type": "string", "description": "Unless sent by HTTP Basic."},
    },
    "example": {
        "grant_type": "client_credentials",
        "client_id": "icbc-core",
        "client_secret": "shown when the client was made",
    },
}
ERROR: dict[str, Any] = {
    "description": "RFC 6749 §5.2: `invalid_request`, `unsupported_grant_type` (400), `invalid_client` (401)",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
            }
        }
    },
}


class OAuthError(Exception):
    """An error of the token endpoint, in the form RFC 6749 §5.2 prescribes."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.answer = JSONResponse(
            {"error": error, "error_description": description},
            status,
            {"Cache-Control": "no-store"}
            | ({"WWW-Authenticate": 'Basic realm="kechuang", charset="UTF-8"'} if status == 401 else {}),
        )


@steps.post(
    "/oauth2/token",
    operation_id="issue_token",
    response_model=Token,
    responses={400: ERROR, 401: ERROR},
    openapi_extra={"requestBody": {"required": True, "content": {FORM: {"schema": FORM_SCHEMA}}}},
)
async def issue_token(request: Request) -> JSONResponse:
    """Client credentials (RFC 6749 §4.4); the client authenticates by HTTP Basic or in the form."""
    begun = door(request).now()
    try:
        client = await _authenticated(request)
    except OAuthError as error:
        return error.answer
    token = Token(access_token=await cast(Keys, request.app.state.keys).sign(claims_of(client), begun))
    return JSONResponse(token.model_dump(), headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


async def _authenticated(request: Request) -> Client:
    """The client whose id and secret were sent; one that is being revoked is waited for. Raises
    OAuthError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise OAuthError("invalid_request", f"Content-Type must be {FORM}")
    form = await request.form()
    if _one(form, "grant_type") != "client_credentials":
        raise OAuthError("unsupported_grant_type", "grant_type must be client_credentials")
    client_id, secret = _credentials(request, form)
    running = cast(Running, request.app.state.running)
    async with running.database.reading() as session:
        query = select(Client).where(col(Client.id) == client_id).with_for_update(read=True, key_share=True)
        client = (await session.execute(query)).scalar_one_or_none()
    right = hmac.compare_digest(client.secret if client else UNKNOWN, secret_hash(secret))
    if client is None or not right or not client.active:
        raise OAuthError("invalid_client", "unknown client, wrong secret, or revoked", 401)
    return client


def secret_hash(secret: str) -> str:
    """A client secret is 256 random bits: a plain hash is enough to keep it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _one(form: FormData, name: str) -> str | None:
    """A parameter of the form; sent twice it is an error (RFC 6749 §3.2)."""
    values = [value for value in form.getlist(name) if isinstance(value, str)]
    if len(values) > 1:
        raise OAuthError("invalid_request", f"{name} was sent twice")
    return values[0] if values else None


def _credentials(request: Request, form: FormData) -> tuple[str, str]:
    """Client id and secret by HTTP Basic or in the form, never both (RFC 6749 §2.3)."""
    client_id, secret = _one(form, "client_id"), _one(form, "client_secret")
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return client_id or "", secret or ""
    if secret is not None:
        raise OAuthError("invalid_request", "credentials by HTTP Basic or in the form, not both")
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise OAuthError("invalid_client", "HTTP Basic cannot be read", 401) from error
    return unquote_plus(name), unquote_plus(password)


@steps.get("/.well-known/jwks.json", operation_id="get_keys")
async def get_keys(request: Request) -> JSONResponse:
    """The public keys access tokens are verified by (RFC 7517)."""
    keys = cast(Keys, request.app.state.keys)
    return JSONResponse(await keys.jwks(), headers={"Cache-Control": "public, max-age=60"})
