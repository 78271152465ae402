"""Two things measured in turn, so that whatever else the machine does in these minutes strikes both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench.ground import Rate

ROUNDS = 5
"""Odd, so that one of them is in the middle."""


@dataclass(frozen=True)
class Turns:
    """The rates of two things, round by round."""

    one: Sequence[Rate]
    other: Sequence[Rate]

    @property
    def middle(self) -> tuple[Rate, Rate]:
        """The round whose ratio is the median one."""
        pairs = zip(self.one, self.other, strict=True)
        ordered = sorted(pairs, key=lambda pair: pair[0].per_second / pair[1].per_second)
        return ordered[len(ordered) // 2]

    @property
    def ratio(self) -> float:
        """The first's rate per second over the second's, in the middle round."""
        one, other = self.middle
        return one.per_second / other.per_second

    @property
    def one_per_second(self) -> float:
        return self.middle[0].per_second

    @property
    def other_per_second(self) -> float:
        return self.middle[1].per_second


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
