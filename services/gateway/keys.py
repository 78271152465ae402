"""The ES256 keys that sign access tokens, and the JWKS that everybody verifies them by.

A key signs for 30 days. Its successor is published two days before it begins to sign, and it stays
published until the last token it signed has expired; then it is destroyed. Private parts are encrypted
at rest by the installation's secret (`KECHUANG_SECRET`, or the file `secret` in the data folder); after
a change of the secret a new key signs at once, and what the old ones signed stays good.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from services.gateway.account import Account, Client, SigningKey
from shared.database import AsyncSession, Database, new_id
from shared.identity import AUDIENCE, ISSUER

log = logging.getLogger("kechuang.keys")
TOKEN_SECONDS = 900
SIGNS_FOR = timedelta(days=30)
PUBLISHED_BEFORE = timedelta(days=2)
KEPT_AFTER = timedelta(seconds=TOKEN_SECONDS + 60)
LOOK_AGAIN = timedelta(seconds=60)
ONE_ROTATION = text("SELECT pg_advisory_xact_lock(hashtext('kechuang.signing-keys'))")


def utc_now() -> datetime:
    """The machine's time. Tokens live by it, never by the sandbox's clock."""
    return datetime.now(UTC)


def claims_of(holder: Account | Client) -> dict[str, Any]:
    """What a token says of its holder (see shared/identity.py, which reads it)."""
    return {
        "sub": holder.subject,
        "client_id": holder.subject,
        "name": holder.display_name,
        "roles": sorted(holder.roles),
        "party": holder.party,
        "kind": "machine" if isinstance(holder, Client) else "person",
    }


def cipher_of(secret: str) -> Fernet:
    """What seals and opens the private parts of the keys of an installation with this secret."""
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()))


class Keys:
    """The signing keys of this installation, read from the database and kept for a minute."""

    def __init__(self, database: Database, secret: str, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._cipher = cipher_of(secret)
        self._now = now
        self._rows: list[SigningKey] = []
        self._read_at: datetime | None = None
        self._opened: dict[str, ECKey | None] = {}
        self._one_at_a_time = asyncio.Lock()

    async def jwks(self) -> dict[str, Any]:
        """The public keys: those that sign, signed within a token's life, or will sign soon."""
        kept = self._now() - KEPT_AFTER
        return {"keys": [json.loads(k.public_jwk) for k in await self._known() if k.signs_until > kept]}

    async def sign(self, claims: dict[str, Any], issued_at: datetime | None = None) -> str:
        """An access token (RFC 9068) with these claims. It counts as issued at `issued_at` (now, without
        one): when its holder's right to it began to be looked at. It lives TOKEN_SECONDS from then."""
        usable = sorted((k for k in await self._known() if self._open(k)), key=lambda k: k.signs_from)
        now = self._now()
        # The newest that may sign; the first of all when our time is a little behind a sibling's.
        key = next((k for k in reversed(usable) if k.signs_from <= now), usable[0])
        begins = (issued_at or now).timestamp()
        whole = claims | {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": begins,
            "exp": int(begins) + TOKEN_SECONDS,
            "jti": str(new_id()),
        }
        private = self._open(key)
        assert private is not None
        return jwt.encode({"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}, whole, private)

    async def _known(self) -> list[SigningKey]:
        async with self._one_at_a_time:
            now = self._now()
            if self._read_at is None or now - self._read_at > LOOK_AGAIN:
                try:
                    self._rows = await self._rotate(now)
                except (DBAPIError, OSError):
                    if not self._rows:
                        raise
                    log.warning("signing keys could not be read anew; the known ones go on", exc_info=True)
                self._read_at = now
        return self._rows

    async def _rotate(self, now: datetime) -> list[SigningKey]:
        """All keys, after adding the one that is due (the first at once, a successor in advance) and
        destroying those that are past."""
        async with self._database.transaction() as session:
            await session.execute(ONE_ROTATION)
            rows = list((await session.execute(select(SigningKey))).scalars())
            last = max((row.signs_until for row in rows if self._open(row)), default=None)
            if last is None or last - now < PUBLISHED_BEFORE:
                row = self._new_key(now if last is None or last < now else last)
                session.add(row)
                rows.append(row)
            return await self._destroy_past(session, rows, now)

    async def _destroy_past(
        self, session: AsyncSession, rows: list[SigningKey], now: datetime
    ) -> list[SigningKey]:
        for row in rows:
            if row.signs_until <= now - KEPT_AFTER:
                await session.delete(row)
                self._opened.pop(row.kid, None)
        return [row for row in rows if row.signs_until > now - KEPT_AFTER]

    def _open(self, row: SigningKey) -> ECKey | None:
        """The private key; None when it was sealed by another secret."""
        if row.kid not in self._opened:
            try:
                private = json.loads(self._cipher.decrypt(row.sealed_private_jwk.encode()))
                self._opened[row.kid] = ECKey.import_key(private)
            except InvalidToken:
                log.warning("signing key %s was sealed by another secret and signs no more", row.kid)
                self._opened[row.kid] = None
        return self._opened[row.kid]

    def _new_key(self, begins: datetime) -> SigningKey:
        kid = str(new_id())
        key = ECKey.generate_key("P-256", parameters={"kid": kid, "use": "sig", "alg": "ES256"})
        private = json.dumps(key.as_dict(private=True))
        return SigningKey(
            kid=kid,
            public_jwk=json.dumps(key.as_dict(private=False)),
            sealed_private_jwk=self._cipher.encrypt(private.encode()).decode(),
            signs_from=begins,
            signs_until=begins + SIGNS_FOR,
        )
