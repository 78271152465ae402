"""One database per service; one request, one transaction; only this package commits.

`Database.transaction()` is the one place where work becomes true: on the way out it writes what was
announced and audited (one round trip), commits, and wakes the relay and the sealer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Engine, event, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.types import Text as SqlText
from uuid_utils.compat import uuid7

from shared import audit, outbox, tracing

__all__ = ["AsyncSession", "Database", "new_id", "numbered", "plain_url", "search_path", "yuan"]


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): ordered by time, so that indexes grow at one end."""
    return uuid7()


def plain_url(url: str) -> str:
    """The same database for asyncpg itself, without SQLAlchemy's driver name."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def search_path(schema: str) -> str:
    """Where names are looked up: in the schema, and in `public`, where the extensions are."""
    return schema if schema == "public" else f"{schema}, public"


def numbered(kind: str, sequence: str, day: date) -> ColumnElement[str]:
    """A readable number such as `L-2026-000123` from a sequence; it may have gaps."""
    digits = func.to_char(func.nextval(sequence), "FM999999000000")  # at least six; lpad would cut a seventh
    return literal(f"{kind}-{day.year}-") + digits


def yuan(fen: Any) -> ColumnElement[str]:
    """SQL: an integer fen column as the decimal string of the API, for JSON built in the database."""
    return func.yuan(fen, type_=SqlText)


CLOSE = text(
    """
    WITH facts AS (
        INSERT INTO outbox (event_id, topic, key, type, time, trace, data)
        SELECT * FROM unnest(
            CAST(:event_ids AS uuid[]), CAST(:topics AS text[]), CAST(:keys AS text[]),
            CAST(:types AS text[]), CAST(:times AS timestamptz[]), CAST(:traces AS text[]),
            CAST(:datas AS text[]))
    ), deed AS (
        INSERT INTO audit (entry, refs)
        SELECT CAST(:entry AS json), CAST(:refs AS text[]) WHERE CAST(:entry AS text) IS NOT NULL
    )
    INSERT INTO idempotency (caller, key, operation, fingerprint, status, location, media_type, body)
    SELECT :caller, :idempotency_key, :operation, CAST(:fingerprint AS bytea), CAST(:status AS int),
           :location, :media_type, CAST(:body AS bytea)
    WHERE CAST(:caller AS text) IS NOT NULL
    """
)
NOTHING_KEPT = dict.fromkeys(
    ("caller", "idempotency_key", "operation", "fingerprint", "status", "location", "media_type", "body")
)


async def _close(session: AsyncSession) -> bool:
    """Write what was announced, audited and kept, in one round trip; True when there was anything."""
    facts = outbox.take_announced(session)
    deed = audit.take_deed(session)
    kept = session.info.pop("kept", None)
    if not facts and deed is None and kept is None:
        return bool(session.info.pop("announced_in_sql", False))
    entry, refs = deed or (None, None)
    columns = {
        "event_ids": "event_id", "topics": "topic", "keys": "key", "types": "type", "times": "time",
        "traces": "trace", "datas": "data",
    }  # fmt: skip
    written = {name: [fact[column] for fact in facts] for name, column in columns.items()}
    await session.execute(CLOSE, written | {"entry": entry, "refs": refs} | (kept or NOTHING_KEPT))
    return True


async def _connect(*args: Any, **options: Any) -> Any:
    """Connect; a server that cannot be reached is an error of the database (08001) like all others, and no
    bare OSError that nobody would answer 503 for."""
    try:
        return await asyncpg.connect(*args, **options)
    except OSError as error:
        raise asyncpg.exceptions.ClientCannotConnectError(str(error)) from error


class Database:
    """The engine of one service's database and its two ways in: `transaction` and `reading`."""

    def __init__(self, url: str, *, pool: int = 12, schema: str = "public") -> None:
        self.url = url
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool,
            max_overflow=0,
            pool_timeout=30,
            hide_parameters=True,  # an error's words go to the log, and parameters hold personal data
            json_serializer=lambda value: json.dumps(value, ensure_ascii=False, default=str),
            connect_args={
                "async_creator_fn": _connect,
                "server_settings": {
                    "lock_timeout": "20s",
                    "jit": "off",
                    "search_path": search_path(schema),
                },
            },
        )
        self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.on_commit: list[Callable[[], None]] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        async with AsyncSession(
            self.engine, sync_session_class=audit.WatchedSession, expire_on_commit=False
        ) as session:
            yield session
            with tracing.Part("commit"):
                await session.flush()
                written = await _close(session)
                await session.commit()
            if written:
                for wake in self.on_commit:
                    wake()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Questions only: no transaction is opened, each statement sees what is committed."""
        async with AsyncSession(self._reader, expire_on_commit=False, autoflush=False) as session:
            yield session

    async def ping(self) -> None:
        async with self.reading() as session:
            await session.execute(select(1))

    async def close(self) -> None:
        await self.engine.dispose()


def instrument(engine: Engine, seen: Callable[[str], None]) -> None:
    """Call `seen` with every statement sent: for the guards that count round trips."""

    def before(_conn: Any, _cursor: Any, statement: str, _params: Any, _context: Any, _many: bool) -> None:
        seen(statement)

    event.listen(engine, "before_cursor_execute", before)
