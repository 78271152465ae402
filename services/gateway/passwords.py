"""Passwords: argon2id beside the loop, as many at once as there are cores, and one guess at a time for
each name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from weakref import WeakValueDictionary

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import Field

from services.gateway.lockout import name_key
from shared.problems import InvalidInput, Unavailable
from shared.rules import Text

HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""argon2id; OWASP's first choice of parameters."""
NOBODYS = HASHER.hash("nobody has this password")
WAITING_ALLOWED = 100
DIFFERENT_CHARACTERS = 5

Password = Annotated[
    str,
    Field(
        min_length=10,
        max_length=200,
        description="At least 10 characters, 5 of them different, without the account's name.",
        examples=["pinghu-tide-1984"],
    ),
]


def demand_strength(password: str, name: str) -> None:
    """Raises InvalidInput for a password that is too easy for this account."""
    if len(set(password)) < DIFFERENT_CHARACTERS or name.lower() in password.lower():
        raise InvalidInput(
            Text(
                f"密码太简单：至少 {DIFFERENT_CHARACTERS} 种不同字符，且不含用户名",
                f"Too easy: {DIFFERENT_CHARACTERS} different characters at least, not the account's name",
            ),
            errors=[{"pointer": "#/password", "detail": Text("太简单", "too easy")}],
        )


class Passwords:
    """Hashing and checking in worker threads, so that the loop never waits; and one guess at a time
    for each name, so that parallel guesses cannot outrun the count."""

    def __init__(self) -> None:
        self._threads = asyncio.Semaphore(os.cpu_count() or 1)
        self._waiting = 0
        self._names: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def hash(self, password: str) -> str:
        """The hash to keep."""
        async with self._thread():
            return await asyncio.to_thread(HASHER.hash, password)

    async def match(self, password_hash: str | None, password: str) -> bool:
        """Is it the password of this hash? Without one: no, after the same time."""
        async with self._thread():
            right = await asyncio.to_thread(_matches, password_hash or NOBODYS, password)
        return right and password_hash is not None

    @asynccontextmanager
    async def one_guess(self, name: str) -> AsyncIterator[None]:
        lock = self._names.setdefault(name_key(name), asyncio.Lock())
        async with lock:
            yield

    @asynccontextmanager
    async def _thread(self) -> AsyncIterator[None]:
        if self._waiting >= WAITING_ALLOWED:
            raise Unavailable(
                Text("登录请求过多，请稍后再试", "Too many are signing in; try again in a moment"),
                headers={"Retry-After": "2"},
            )
        self._waiting += 1
        try:
            async with self._threads:
                yield
        finally:
            self._waiting -= 1


def _matches(password_hash: str, password: str) -> bool:
    try:
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
