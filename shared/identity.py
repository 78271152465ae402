"""Who is asking, and what they may do: principals, token verification, the permission table.

The gateway issues short ES256 access tokens; every service verifies them itself against the gateway's
JWKS. The permission table (`permissions/*.toml`) is data: operation → role → whose case. Nobody may
do what no row allows.
"""

from __future__ import annotations

import asyncio
import time
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from shared.problems import Forbidden, NotFound, Unauthenticated
from shared.rules import Text

Role = Literal[
    "office",
    "member",
    "finance",
    "assessor",
    "institution",
    "guarantor",
    "enterprise",
    "auditor",
    "partner",
]
ROLES: tuple[str, ...] = get_args(Role)
Whose = Literal["own", "all"]
ISSUER = "kechuang"
AUDIENCE = "kechuang"
PERMISSIONS = Path(__file__).parent / "permissions"
ANYONE = "anyone"


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or a machine client, acting for a party: an institution's or guarantor's id, an
    enterprise's USCC, a member unit's code; the office and the auditor act for none."""

    subject: str
    name: str
    roles: frozenset[str]
    party: str | None
    machine: bool
    whose: Whose = "own"

    @property
    def party_id(self) -> UUID:
        """The party of an institution or guarantor."""
        return UUID(self.party)

    def owns(self, *parties: object) -> bool:
        """May this principal see a case of these parties?"""
        return self.whose == "all" or (self.party is not None and self.party in map(str, parties))

    def only_own(self, *parties: object) -> None:
        """Raise the same 404 as for a case that does not exist unless it is the principal's own."""
        if not self.owns(*parties):
            raise NotFound(Text("未找到这一案件", "No such case"))


NOBODY = Principal("anonymous", "", frozenset(), None, machine=False)


@cache
def permissions() -> Mapping[str, Mapping[str, Whose]]:
    """The permission table: operation id → role → whose cases. Checked when loaded."""
    table: dict[str, dict[str, Whose]] = {}
    for path in sorted(PERMISSIONS.glob("*.toml")):
        for operation, row in tomllib.loads(path.read_text("utf-8")).items():
            if operation in table:
                raise ValueError(f"{path.name}: {operation} has two rows")
            for role, whose in row.items():
                if role not in (*ROLES, ANYONE) or whose not in get_args(Whose):
                    raise ValueError(f"{path.name}: {operation}: {role} = {whose!r}")
            table[operation] = row
    return table


def permit(principal: Principal, operation: str) -> Principal:
    """The principal with the reach its roles have for this operation; refuses without a row."""
    row = permissions().get(operation, {})
    if ANYONE in row:
        return _reaching(principal, row[ANYONE])
    if principal is NOBODY:
        raise Unauthenticated(
            Text("请先登录，或在 Authorization 中带上访问令牌", "Sign in, or send an access token"),
            headers={"WWW-Authenticate": "Bearer"},
        )
    reach = {row[role] for role in principal.roles if role in row}
    if not reach:
        raise Forbidden(
            Text(
                f"您的角色（{'、'.join(sorted(principal.roles))}）不办理此事",
                f"Your role ({', '.join(sorted(principal.roles))}) does not do this",
            )
        )
    return _reaching(principal, "all" if "all" in reach else "own")


def _reaching(principal: Principal, whose: Whose) -> Principal:
    return Principal(
        principal.subject,
        principal.name,
        principal.roles,
        principal.party,
        principal.machine,
        whose,
    )


class Verifier:
    """Verifies access tokens by the issuer's JWKS, fetched when needed and kept for a while.

    An unknown key id fetches anew, one fetch at a time and not more often than every 5 s; keys older
    than 5 minutes are fetched again, so that a withdrawn key stops working.
    """

    MAX_AGE_SECONDS = 300.0
    MIN_INTERVAL_SECONDS = 5.0
    REMEMBERED = 10_000

    def __init__(
        self,
        fetch: Callable[[], Awaitable[dict[str, Any]]],
        *,
        revoked: Callable[[str], bool] = lambda subject: False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fetch = fetch
        self._revoked = revoked
        self._now = now
        self._keys: KeySet | None = None
        self._fetched_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()
        self._known: dict[str, tuple[float, float, Principal]] = {}

    async def principal(self, authorization: str | None) -> Principal:
        """Who the Authorization header's Bearer token names; `NOBODY` without one."""
        if not authorization:
            return NOBODY
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _invalid("only Bearer tokens are taken")
        known = self._known.get(token)
        if known and self._now() < known[0] and known[1] == self._fetched_at and self._fresh():
            principal = known[2]
        else:
            principal = await self._verify(token)
        if self._revoked(principal.subject):
            raise _invalid("revoked")
        return principal

    def _fresh(self) -> bool:
        return self._now() - self._fetched_at < self.MAX_AGE_SECONDS

    async def _verify(self, token: str) -> Principal:
        claims = await self._claims(token)
        try:
            now = int(self._now())
            jwt.JWTClaimsRegistry(
                now=now,
                leeway=10,
                iss={"essential": True, "value": ISSUER},
                aud={"essential": True, "value": AUDIENCE},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
            ).validate(claims)
            roles = frozenset(claims["roles"])
            principal = Principal(
                subject=str(claims["sub"]),
                name=str(claims.get("name", "")),
                roles=roles & set(ROLES),
                party=claims.get("party"),
                machine=claims.get("kind") == "machine",
            )
            expires = float(claims["exp"])
        except (JoseError, KeyError, TypeError, ValueError) as error:
            raise _invalid(str(error)) from error
        if len(self._known) >= self.REMEMBERED:
            self._known.clear()
        self._known[token] = (expires, self._fetched_at, principal)
        return principal

    async def _claims(self, token: str) -> dict[str, Any]:
        for attempt in range(2):
            keys = await self._key_set(anew=attempt == 1)
            try:
                return jwt.decode(token, keys, algorithms=["ES256"]).claims
            except (JoseError, ValueError, TypeError) as error:
                if attempt == 1 or self._now() - self._fetched_at < self.MIN_INTERVAL_SECONDS:
                    raise _invalid(type(error).__name__) from error
        raise AssertionError("unreachable")

    async def _key_set(self, *, anew: bool) -> KeySet:
        asked_at = self._now()
        async with self._one_at_a_time:
            stale = not self._fresh() or (anew and self._fetched_at < asked_at)
            if self._keys is None or stale:
                self._keys = KeySet.import_key_set(await self._fetch())  # type: ignore[arg-type]
                self._fetched_at = self._now()
        return self._keys


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated(
        Text(
            "访问令牌无效或已过期，请重新登录",
            f"The access token is not valid ({why}); sign in again",
        ),
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )
