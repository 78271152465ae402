"""What time it is. Instants are UTC; business dates are calendar dates in Asia/Shanghai.

Every service asks the clock it was given, so that a test (and the sandbox) can hold and move time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


class Clock(Protocol):
    def now(self) -> datetime:
        """The current instant, aware, in UTC."""

    def today(self) -> date:
        """The business date in Asia/Shanghai."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def today(self) -> date:
        return self.now().astimezone(SHANGHAI).date()


class SandboxClock(SystemClock):
    """The machine's time until moved; afterwards a business date that stands until moved again.

    Only a sandbox and tests have one: a live installation's clock cannot be moved.
    """

    def __init__(self, held: date | None = None) -> None:
        self.held = held
        self.on_move: list[Callable[[], None]] = []

    def hold(self, day: date) -> None:
        self.held = day
        for wake in self.on_move:
            wake()

    def release(self) -> None:
        self.held = None

    def now(self) -> datetime:
        real = super().now()
        if self.held is None:
            return real
        local = real.astimezone(SHANGHAI)
        return datetime.combine(self.held, local.timetz()).astimezone(UTC)

    def today(self) -> date:
        return self.held or super().today()

    def advance(self, days: int) -> date:
        self.hold(self.today() + timedelta(days=days))
        return self.today()
