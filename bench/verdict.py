"""A ratio beside its target, as one printed line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """What was measured: `ratio` is to be at least, or at most, the target."""

    name: str
    ratio: float
    target: float
    figures: str
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        verdict = "met" if self.met else "MISSED"
        return f"{self.name:42} {self.ratio:6.2f}  target {sign} {self.target:<5} {verdict:6}  {self.figures}"
