"""States and moves as data: the only way a case changes its state."""

from __future__ import annotations

from collections.abc import Mapping

from shared.problems import IllegalMove
from shared.rules import Text


class Moves:
    """`{(state, move): new state}`; any other move is refused with the moves that are allowed."""

    def __init__(self, table: Mapping[tuple[str, str], str]) -> None:
        self.table = dict(table)

    @property
    def states(self) -> set[str]:
        return {state for state, _ in self.table} | set(self.table.values())

    def allowed(self, state: str) -> list[str]:
        return sorted(move for known, move in self.table if known == state)

    def after(self, state: str, move: str, *, rule: str | None = None) -> str:
        """The state this move leads to; IllegalMove (409) when it is not allowed now."""
        new = self.table.get((state, move))
        if new is None:
            allowed = self.allowed(state)
            raise IllegalMove(
                Text(
                    f"当前状态“{state}”不能“{move}”；可以：{'、'.join(allowed) or '无'}",
                    f"not possible: {move} in state {state}; possible: {', '.join(allowed) or 'none'}",
                ),
                rule=rule,
                state=state,
                moves=allowed,
            )
        return new
