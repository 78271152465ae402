"""What time it is. Instants are UTC; business dates are calendar dates in Asia/Shanghai.

Every service asks the clock it was given, so that a test (and the sandbox) can hold and move time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Protocol
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

SHANGHAI = ZoneInfo("Asia/Shanghai")
SANDBOX_DAY = "x-sandbox-day"
"""In a sandbox the gateway tells its held day with every request, by this header: whoever saw the clock
moved finds no replica that has not heard of it yet. A live installation neither sends nor reads it."""

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _written(value: Any) -> Any:
    if type(value) is date or (isinstance(value, str) and DAY.fullmatch(value)):
        return value
    raise PydanticCustomError("date_type", "应为日期 YYYY-MM-DD; must be a date YYYY-MM-DD")


Day = Annotated[date, BeforeValidator(_written)]
"""A business date in a request: written YYYY-MM-DD and nothing else. Pydantic's own `date` takes numbers as
seconds since 1970 and instants at midnight UTC too, which are no days in Shanghai."""


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

    def move_on(self, day: date) -> None:
        """Hold a later day; an earlier one changes nothing: the clock only goes forward."""
        if self.held is None or day > self.held:
            self.hold(day)

    def hear(self, told: str | None) -> None:
        """The day a request was told to be of (`SANDBOX_DAY`)."""
        if told and (self.held is None or told != self.held.isoformat()):
            self.move_on(date.fromisoformat(told))

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
