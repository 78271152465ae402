"""The measures as data: every figure of the law, with its article, its words and its dates.

`measures_on(day)` is the version in force on a day. A loan is governed by the version in force on its
disbursement date for its whole life; `version` is that version's first day, so
`measures_on(date.fromisoformat(version))` finds it again. The file is checked whole when it is first
read: a missing figure, an unknown unit or a gap stops the start with a line that says what to mend.
Another city's scheme is another file, named by the environment's `KECHUANG_MEASURES`.
"""

from __future__ import annotations

import os
from datetime import date
from functools import cache, lru_cache
from pathlib import Path

from shared.measures.book import Book, MeasuresBroken, MeasuresNotInForce, load
from shared.measures.figures import SECURITY_TYPES, Category, Citation, Measures, Shares, Unit

__all__ = [
    "FILE",
    "SECURITY_TYPES",
    "Book",
    "Category",
    "Citation",
    "Measures",
    "MeasuresBroken",
    "MeasuresNotInForce",
    "Shares",
    "Unit",
    "book",
    "first_day",
    "load",
    "measures_on",
]

FILE = Path(__file__).parent / "pinghu.toml"


@cache
def book() -> Book:
    """This installation's measures, read and checked once. Raises MeasuresBroken."""
    return load(Path(os.environ.get("KECHUANG_MEASURES") or FILE))


@lru_cache(maxsize=4096)
def measures_on(day: date) -> Measures:
    """The measures in force on a business date. Raises MeasuresNotInForce before the first version."""
    return book().on(day)


def first_day() -> date:
    """The first day any version is in force: nothing before it is governed by the scheme (R-25)."""
    return book().first_day
