"""The installation's secret goes with it: by it signing keys are opened and repeated requests recognised."""

from __future__ import annotations

import asyncpg
from cryptography.fernet import InvalidToken

from services.gateway.keys import cipher_of
from services.moving import refusals
from services.moving.side import Side
from services.run import SECRET, keep_secret

SEALED = "SELECT sealed_private_jwk FROM signing_key WHERE signs_until > now()"


def agreed(source: Side, target: Side) -> str:
    """The one secret of both sides; a data folder without one takes the source's. Raises Refused."""
    told = target.settings.secret or (source.settings.secret if target.folder else "")
    if not told:
        raise refusals.no_secret(target.name, _where(source))
    if source.settings.secret and told != source.settings.secret:
        raise refusals.other_secret(target.name, _where(source))
    return told


async def must_open_keys(secret: str, gateway: asyncpg.Connection, source: Side, target: Side) -> None:
    """The secret opens a key that still signs, if there is any; those of before an earlier change of the
    secret it need not open. Raises Refused."""
    sealed = [row["sealed_private_jwk"] for row in await gateway.fetch(SEALED)]
    if sealed and not any(_opens(secret, key) for key in sealed):
        raise refusals.other_secret(target.name, _where(source))


def _opens(secret: str, sealed: str) -> bool:
    try:
        cipher_of(secret).decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def keep(secret: str, target: Side) -> None:
    """A data folder keeps the secret as if it had made it itself."""
    if target.folder and not (target.folder / SECRET).exists():
        keep_secret(target.folder / SECRET, secret)


def _where(source: Side) -> str:
    return str(source.folder / SECRET) if source.folder else "KECHUANG_SECRET"
