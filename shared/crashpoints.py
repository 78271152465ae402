"""Named places where a fault test lets the process die, as kill -9 would (`KECHUANG_CRASH_AT`).

Without that variable a crash point costs one comparison and does nothing.
"""

from __future__ import annotations

import os
import signal
from typing import Literal

Point = Literal["after_commit", "after_publish", "before_inbox", "after_effect", "before_offset"]

_at, _, _nth = os.environ.get("KECHUANG_CRASH_AT", "").partition(":")
_left = int(_nth or 1)


def reach(point: Point) -> None:
    """Die here when this point is armed and its turn has come (`after_publish:3`: the third time)."""
    global _left
    if point != _at:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
