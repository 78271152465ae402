"""Carrying the log: every record with its id, attributes and trace, in order per key; the places of the
groups; and the dead letters that wait.

What the target has of a key must be the beginning of what the source has of it; the rest is published.
So an interrupted carrying is simply continued, and nothing of another installation is mixed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from uuid import UUID

from shared.bus import Bus, DeadLetter, Received
from shared.events import TOPICS

Key = tuple[str, str]
"""(topic, key): where order holds."""


@dataclass(frozen=True, slots=True)
class Chain:
    """How many records a key has, and a digest of them in their order."""

    records: int = 0
    digest: bytes = b""

    def followed_by(self, record: Received) -> Chain:
        said = (str(record.event_id), record.type, record.time.isoformat(), record.trace or "")
        digest = blake2b(self.digest, digest_size=16)
        digest.update("\n".join(said).encode() + b"\n" + record.data)
        return Chain(self.records + 1, digest.digest())


@dataclass
class Log:
    """What a bus holds, told by key."""

    chains: dict[Key, Chain] = field(default_factory=dict)
    disagrees: bool = False
    """Something of the log it was compared with is not the beginning of this one."""

    def records(self, topic: str) -> int:
        return sum(chain.records for (of, _), chain in self.chains.items() if of == topic)


async def read(bus: Bus, beginning: Log | None = None) -> Log:
    """The log of a bus; with `beginning`, whether that other log is the beginning of it."""
    log, expected = Log(), dict(beginning.chains if beginning else {})
    async for record in _records(bus):
        key = (record.topic, record.key)
        chain = log.chains[key] = log.chains.get(key, Chain()).followed_by(record)
        if key in expected and chain.records == expected[key].records:
            log.disagrees |= chain != expected.pop(key)
    log.disagrees |= bool(expected)
    return log


async def _records(bus: Bus) -> AsyncIterator[Received]:
    async for batch in bus.history(TOPICS):
        for record in batch:
            yield record


@dataclass
class Passed:
    """Which records a group had not passed in the source: of each key, from the how-manieth on."""

    waiting: dict[str, dict[Key, int]] = field(default_factory=dict)

    def take(self, group: str, key: Key, nth: int) -> None:
        self.waiting.setdefault(group, {}).setdefault(key, nth)

    def has(self, group: str, key: Key, nth: int) -> bool:
        waits_from = self.waiting.get(group, {}).get(key)
        return waits_from is None or nth < waits_from


async def publish(source: Bus, target: Bus, there: Log, groups: Mapping[str, Sequence[str]]) -> Passed:
    """Publish in the target what is not `there` yet; what each group (name → topics) had not passed."""
    places = {group: await source.places(group, topics) for group, topics in groups.items()}
    seen: Counter[Key] = Counter()
    passed = Passed()
    async for batch in source.history(TOPICS):
        missing = []
        for record in batch:
            key = (record.topic, record.key)
            nth = seen[key]
            seen[key] += 1
            for group, topics in groups.items():
                place = places[group].get((record.topic, record.partition), 0)
                if record.topic in topics and record.offset >= place:
                    passed.take(group, key, nth)
            if nth >= there.chains.get(key, Chain()).records:
                missing.append(record)
        if missing:
            await target.publish(missing)
    return passed


async def put_groups(target: Bus, passed: Passed, groups: Mapping[str, Sequence[str]]) -> None:
    """Put each group before the first record of each partition that it had not passed. Whatever it had
    passed behind that comes again, and its inbox knows it."""
    places: dict[str, dict[tuple[str, int], int]] = {group: {} for group in groups}
    halted: set[tuple[str, str, int]] = set()
    seen: Counter[Key] = Counter()
    async for record in _records(target):
        key = (record.topic, record.key)
        nth = seen[key]
        seen[key] += 1
        for group, topics in groups.items():
            partition = (group, record.topic, record.partition)
            if record.topic not in topics or partition in halted:
                continue
            if passed.has(group, key, nth):
                places[group][record.topic, record.partition] = record.offset + 1
            else:
                halted.add(partition)
    for group, at in places.items():
        await target.set_places(group, at)


async def letters_of(bus: Bus) -> list[DeadLetter]:
    """The dead letters that wait, topic by topic, oldest first."""
    return [letter for topic in TOPICS for letter in await bus.dead_letters(topic)]


async def bury(target: Bus, letters: Sequence[DeadLetter]) -> None:
    """Bury the source's letters in the target, under the places their records have there."""
    there = {(letter.group, letter.record.event_id) for letter in await letters_of(target)}
    missing = [letter for letter in letters if (letter.group, letter.record.event_id) not in there]
    wanted = {letter.record.event_id for letter in missing}
    found: dict[UUID, Received] = {}
    if wanted:
        async for record in _records(target):
            if record.event_id in wanted:
                found.setdefault(record.event_id, record)
    for letter in missing:
        await target.bury(replace(letter, record=found[letter.record.event_id]))
