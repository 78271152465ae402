"""What filing and listing cost when the tables have grown, against small tables in the same minute.

Both services run side by side and are asked in turn, so that whatever else the machine does strikes both.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.ground import Rate, load, served
from bench.town import Town, lending_town
from bench.verdict import Line
from tests.ground import Databases

SMALL = 10_000
GROWN = 100_000
LARGE = 1_000_000
ROUNDS = 6
EACH = 500
TARGET = 1.2


async def measure(databases: Databases, *, large: bool) -> list[Line]:
    """Seconds per request with many loans over those with few: filing, and the list of 50."""
    many, approvals = LARGE if large else GROWN, (ROUNDS + 1) * EACH
    async with (
        lending_town(databases, SMALL, approvals) as small,
        lending_town(databases, many, approvals) as grown,
        served(small.it.app) as small_port,
        served(grown.it.app) as grown_port,
    ):
        ports = ((small, small_port), (grown, grown_port))
        filing = await _in_turn(ports, lambda town: town.filings(EACH))
        listing = await _in_turn(ports, lambda town: town.lists() * (EACH // len(town.lists())))
    return [_line("filing", many, *filing), _line("list of 50", many, *listing)]


async def _in_turn(
    towns: tuple[tuple[Town, int], ...], requests: Callable[[Town], list[bytes]]
) -> tuple[list[Rate], list[Rate]]:
    """A round to warm up, then ROUNDS rounds, the other one first each time."""
    rates: dict[int, list[Rate]] = {port: [] for _, port in towns}
    for number in range(ROUNDS + 1):
        for town, port in towns if number % 2 else reversed(towns):
            rate = await load(port, requests(town))
            await town.it.settle()
            if number:
                rates[port].append(rate)
    small, grown = (rates[port] for _, port in towns)
    return small, grown


def _line(name: str, many: int, small: list[Rate], grown: list[Rate]) -> Line:
    before, after = (
        sum(r.seconds for r in rates) / sum(r.requests for r in rates) for rates in (small, grown)
    )
    figures = f"{after * 1000:.2f} ms against {before * 1000:.2f} ms each"
    return Line(f"{name}, {many:,} / {SMALL:,} loans", after / before, TARGET, figures, at_most=True)
