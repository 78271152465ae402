"""What a bus promises; `kafka_bus.py` and `postgres_bus.py` keep it.

At least once; in the order published per key; what `publish` returned from is durable; a group's
place in a topic survives; one member of a group at a time reads a key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event on its way out: CloudEvents attributes, key, and JSON data."""

    topic: str
    key: str
    event_id: UUID
    type: str
    time: datetime
    trace: str | None
    data: bytes


def members_of(row: Any) -> dict[str, Any]:
    """The members of a record that stands as a row of an outbox or of the log."""
    return {
        "topic": row["topic"],
        "key": row["key"],
        "event_id": row["event_id"],
        "type": row["type"],
        "time": row["time"],
        "trace": row["trace"],
        "data": row["data"].encode(),
    }


@dataclass(frozen=True, slots=True)
class Received(Outgoing):
    """One event as read: where it stood in the log."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be taken in, with where it came from and why."""

    record: Received
    group: str
    error: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a group has come over all its topics: `committed` grows with it, `end` is where it has
    caught up. Only their difference counts records."""

    committed: int
    end: int

    @property
    def lag(self) -> int:
        return self.end - self.committed


Places = Mapping[tuple[str, int], int]
"""(topic, partition) → the offset of the first record that a group has not passed."""


class Subscription(Protocol):
    """One member of a group reading some topics from the group's place on."""

    async def poll(self, limit: int, wait_seconds: float) -> list[Received]:
        """The next records, at most `limit`; empty when none came within `wait_seconds`.
        Records polled and not committed come again after a restart or when `rewind` is called."""

    async def commit(self, records: Sequence[Received]) -> None:
        """The group has taken in these records, and all before them on the same partitions."""

    async def rewind(self) -> None:
        """Go back to the group's committed place: the next poll reads from there."""

    async def place(self) -> Place:
        """Where the whole group stands in the topics, and where they end."""

    async def close(self) -> None: ...


class Bus(Protocol):
    async def start(self) -> None: ...

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Durable and in order when it returns; on an error some may have been published."""

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription: ...

    def history(self, topics: Sequence[str]) -> AsyncIterator[list[Received]]:
        """Every record of the topics from the beginning to now, in batches, in order per key."""

    async def bury(self, letter: DeadLetter) -> None:
        """Put a record into `<topic>.DLT` with its coordinates and error; durable on return."""

    async def dead_letters(self, topic: str) -> Sequence[DeadLetter]:
        """What lies in `<topic>.DLT` and was neither sent again nor discarded, oldest first."""

    async def clear_dead_letters(self, topic: str, letters: Sequence[DeadLetter]) -> None:
        """These letters, and all before them, were dealt with (sent again or discarded)."""

    async def places(self, group: str, topics: Sequence[str]) -> Places:
        """Where a group stands; partitions it has committed nothing of are left out."""

    async def set_places(self, group: str, places: Places) -> None:
        """Put a group that nobody is a member of to these places."""

    async def ping(self) -> None:
        """Raise when the bus cannot be reached."""

    async def close(self) -> None: ...
