"""The lock-out of guessers: five wrong passwords in a row lock a name for fifteen minutes.

Failures are counted by the name that was tried, whether or not anybody has it, so that neither the
answer, nor its time, nor a lock-out tells which names exist.
"""

from __future__ import annotations

import hashlib
import math
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from services.gateway.account import Failures
from shared.database import AsyncSession
from shared.problems import Refusal
from shared.rules import Text

FAILURES_ALLOWED = 5
LOCKED_FOR = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(days=1)


class TooManyFailures(Refusal):
    """Too many wrong passwords for this name; it is refused for a while, right or wrong."""

    status = 429
    title = Text("失败次数过多，暂时锁定", "Too many failures; locked for a while")


def name_key(name: str) -> bytes:
    """Names are kept hashed: people type passwords into the wrong field."""
    return hashlib.sha256(name.encode()).digest()


async def refuse_when_locked(session: AsyncSession, name: str, now: datetime) -> None:
    """Raises TooManyFailures while the name is locked."""
    query = select(col(Failures.locked_until)).where(col(Failures.name_sha256) == name_key(name))
    until = (await session.execute(query)).scalar_one_or_none()
    if until is not None and until > now:
        left = math.ceil((until - now).total_seconds())
        minutes = math.ceil(left / 60)
        raise TooManyFailures(
            Text(
                f"密码连错 {FAILURES_ALLOWED} 次，请 {minutes} 分钟后再试",
                f"{FAILURES_ALLOWED} wrong passwords in a row; try again in {minutes} minutes",
            ),
            headers={"Retry-After": str(left)},
        )


async def count_failure(session: AsyncSession, name: str, now: datetime) -> None:
    """One wrong password more; the last one allowed locks the name."""
    fresh = insert(Failures).values(name_sha256=name_key(name), failures=1, last_at=now)
    counted = fresh.on_conflict_do_update(
        index_elements=[col(Failures.name_sha256)],
        set_={"failures": col(Failures.failures) + 1, "last_at": now},
    ).returning(col(Failures.failures))
    if (await session.execute(counted)).scalar_one() >= FAILURES_ALLOWED:
        locked = insert(Failures).values(name_sha256=name_key(name), failures=0, last_at=now)
        until = {"failures": 0, "locked_until": now + LOCKED_FOR}
        await session.execute(
            locked.on_conflict_do_update(index_elements=[col(Failures.name_sha256)], set_=until)
        )


async def forget_failures(session: AsyncSession, name: str) -> None:
    """The right password: counting begins anew."""
    await session.execute(delete(Failures).where(col(Failures.name_sha256) == name_key(name)))


async def forget_old_failures(session: AsyncSession, _day: object) -> None:
    """Daily: what was tried more than a day ago no longer counts."""
    await session.execute(delete(Failures).where(col(Failures.last_at) < func.now() - FORGOTTEN_AFTER))
