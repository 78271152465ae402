"""Two things measured in turn, so that whatever else the machine does in these minutes strikes both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.ground import Rate

ROUNDS = 5


@dataclass(frozen=True)
class Turns:
    """The rates of two things, round by round."""

    one: Sequence[Rate]
    other: Sequence[Rate]

    @property
    def ratio(self) -> float:
        """The first's rate per second over the second's: the median of the rounds."""
        pairs = zip(self.one, self.other, strict=True)
        return median(one.per_second / other.per_second for one, other in pairs)

    @property
    def one_per_second(self) -> float:
        return median(rate.per_second for rate in self.one)

    @property
    def other_per_second(self) -> float:
        return median(rate.per_second for rate in self.other)


async def in_turn(
    one: Callable[[], Awaitable[Rate]], other: Callable[[], Awaitable[Rate]], rounds: int = ROUNDS
) -> Turns:
    """Both once to warm up, then `rounds` rounds, each beginning with the other one."""
    ones: list[Rate] = []
    others: list[Rate] = []
    for number in range(rounds + 1):
        for measure, kept in ((one, ones), (other, others))[:: 1 if number % 2 else -1]:
            kept.append(await measure())
    return Turns(ones[1:], others[1:])
