"""`python -m bench [filing] [list] [gateway] [import] [growth] [bus] [--large]`: all of them without a name.

`--large` takes the full size where the default is a smaller one: growth at 1,000,000 loans.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import uvloop

from bench import bus, filing, gateway, growth, importing, listing
from bench.ground import durable_databases
from bench.verdict import Line
from tests.ground import Databases

Measure = Callable[..., Awaitable[list[Line]]]
MEASURES: Mapping[str, Measure] = {
    "filing": filing.measure,
    "list": listing.measure,
    "gateway": gateway.measure,
    "import": importing.measure,
    "growth": growth.measure,
    "bus": bus.measure,
}


async def measure(databases: Databases, names: Sequence[str], *, large: bool) -> None:
    """Run these benches, one after another, and print their lines as they come."""
    for name in names:
        for line in await MEASURES[name](databases, large=large):
            print(line, flush=True)


def main() -> None:
    """Measure what the command line names, on a PostgreSQL of this run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MEASURES, []], metavar="name", help=", ".join(MEASURES))
    parser.add_argument("--large", action="store_true", help="the full size (takes long)")
    chosen = parser.parse_args()
    logging.basicConfig(level="WARNING")
    with durable_databases() as databases, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(databases, chosen.names or list(MEASURES), large=chosen.large))


if __name__ == "__main__":
    main()
