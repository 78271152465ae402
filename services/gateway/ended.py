"""Access that was ended is out within a second: closed accounts, revoked clients, changed passwords.

Tokens live a quarter of an hour and services verify them without asking anybody. So the edge, where
every request from outside passes, refuses those issued before their holder's access was ended. The list
is read from the database every second (also what a sibling process ended) and is nearly always empty.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import cast, literal, select, union_all
from sqlalchemy.types import Text as SqlText
from sqlmodel import col

from services.gateway.account import Account, Client
from services.gateway.keys import KEPT_AFTER, utc_now
from shared.database import Database
from shared.problems import Unauthenticated
from shared.rules import Text

log = logging.getLogger("kechuang.ended")


class Ended:
    """Whose access was ended within a token's life, and when."""

    POLL_SECONDS = 1.0

    def __init__(self) -> None:
        self.database: Database | None = None
        self._since: dict[str, float] = {}

    async def refresh(self) -> None:
        """Read the list anew."""
        assert self.database is not None
        oldest = utc_now() - KEPT_AFTER - timedelta(seconds=60)
        parts = [
            select(literal(f"{kind}:") + cast(col(table.id), SqlText), col(table.access_ended_at)).where(
                col(table.access_ended_at) > oldest
            )
            for kind, table in (("account", Account), ("client", Client))
        ]
        async with self.database.reading() as session:
            rows = (await session.execute(union_all(*parts))).all()
        self._since = {subject: at.timestamp() for subject, at in rows if at}

    async def watch(self) -> None:
        """For ever: read the list every second; while the database is away, the last one holds."""
        while True:
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001  (whatever it is: the next second tries again)
                log.warning("the list of ended access could not be read: %r", error)
            await asyncio.sleep(self.POLL_SECONDS)

    def refuse(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises Unauthenticated when the request's token was issued before its holder's access ended.
        Whether the token is genuine, the service finds out: a forged one gains nothing here."""
        if not self._since:
            return
        for name, value in headers:
            if name == b"authorization":
                claims = _claims(value)
                ended_at = self._since.get(str(claims.get("sub")))
                if ended_at is not None and not _after(claims.get("iat"), ended_at):
                    raise Unauthenticated(
                        Text("访问令牌已被撤销，请重新登录", "The access token was revoked; sign in again"),
                        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
                    )


def _after(issued_at: object, ended_at: float) -> bool:
    return isinstance(issued_at, int | float) and issued_at > ended_at


def _claims(authorization: bytes) -> dict[str, Any]:
    """The claims of a bearer token, not verified; none when it cannot be read."""
    try:
        payload = authorization.split(b".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    except (IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
