"""What filing and listing cost when the tables have grown, against small tables in the same minute.

Both services run side by side and are asked in turn, so that whatever else the machine does strikes both.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.ground import Rate, load, served
from bench.town import LENDERS, Town, lending_town
from bench.turns import ROUNDS, Turns, in_turn
from bench.verdict import Line
from tests.ground import Databases

SMALL = 10_000
GROWN = 100_000
LARGE = 1_000_000
EACH = 320
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

        async def turns(requests: Callable[[Town], list[bytes]]) -> Turns:
            return await in_turn(
                lambda: _settled(small, small_port, requests(small)),
                lambda: _settled(grown, grown_port, requests(grown)),
            )

        filing = await turns(lambda town: town.filings(EACH))
        listing = await turns(lambda town: town.lists() * (EACH // LENDERS))
    return [_line("filing", many, filing), _line("list of 50", many, listing)]


async def _settled(town: Town, port: int, requests: list[bytes]) -> Rate:
    """The rate of these requests; what they left to do in the background is done when this returns."""
    rate = await load(port, requests)
    await town.it.settle()
    return rate


def _line(name: str, many: int, turns: Turns) -> Line:
    before, after = 1000 / turns.one_per_second, 1000 / turns.other_per_second
    figures = f"{after:.2f} ms against {before:.2f} ms each"
    return Line(f"{name}, {many:,} / {SMALL:,} loans", turns.ratio, TARGET, figures, at_most=True)
