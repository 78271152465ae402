"""The ES256 keys that sign access tokens, and the JWKS that everybody verifies them by.

A key signs for 30 days. Its successor is published two days before it begins to sign, and it stays
published until the last token it signed has expired. Private parts are encrypted at rest by the
installation's secret (`KECHUANG_SECRET`, or the file `secret` in the data folder).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet
from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import select, text

from services.gateway.account import SigningKey
from shared.database import Database, new_id
from shared.identity import AUDIENCE, ISSUER

TOKEN_SECONDS = 900
SIGNS_FOR = timedelta(days=30)
PUBLISHED_BEFORE = timedelta(days=2)
LOOK_AGAIN = timedelta(seconds=60)
ONE_ROTATION = text("SELECT pg_advisory_xact_lock(hashtext('kechuang.signing-keys'))")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Keys:
    """The signing keys of this installation, read from the database and kept for a minute."""

    def __init__(self, database: Database, secret: str, now: Callable[[], datetime] = _utc_now) -> None:
        self._database = database
        self._cipher = Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()))
        self._now = now
        self._rows: list[SigningKey] = []
        self._read_at: datetime | None = None
        self._opened: dict[str, ECKey] = {}
        self._one_at_a_time = asyncio.Lock()

    async def jwks(self) -> dict[str, Any]:
        """The public keys: those that sign, signed within a token's life, or will sign soon."""
        now = self._now()
        kept = now - timedelta(seconds=TOKEN_SECONDS + 60)
        return {"keys": [json.loads(k.public_jwk) for k in await self._known() if k.signs_until > kept]}

    async def sign(self, claims: dict[str, Any]) -> str:
        """An access token with these claims; `exp` is TOKEN_SECONDS from now."""
        known = await self._known()
        now = self._now()
        signing = [key for key in known if key.signs_from <= now < key.signs_until]
        key = max(signing, key=lambda key: key.signs_from)
        private = self._opened.get(key.kid)
        if private is None:
            opened = self._cipher.decrypt(key.sealed_private_jwk.encode())
            private = self._opened[key.kid] = ECKey.import_key(json.loads(opened))
        issued = int(now.timestamp())
        whole = claims | {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": issued,
            "exp": issued + TOKEN_SECONDS,
            "jti": str(new_id()),
        }
        return jwt.encode({"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}, whole, private)

    async def _known(self) -> list[SigningKey]:
        async with self._one_at_a_time:
            now = self._now()
            if self._read_at is None or now - self._read_at > LOOK_AGAIN:
                self._rows = await self._rotate(now)
                self._read_at = now
        return self._rows

    async def _rotate(self, now: datetime) -> list[SigningKey]:
        """All keys, after adding the one that is due: the first at once, a successor in advance."""
        async with self._database.transaction() as session:
            await session.execute(ONE_ROTATION)
            rows = list((await session.execute(select(SigningKey))).scalars())
            last = max((row.signs_until for row in rows), default=None)
            if last is None or last - now < PUBLISHED_BEFORE:
                begins = now if last is None or last < now else last
                row = self._new_key(begins)
                session.add(row)
                rows.append(row)
        return rows

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
