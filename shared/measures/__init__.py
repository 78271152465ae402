"""The measures as data: every figure of the law, with its article, its words and its dates.

`measures_on(day)` is the version in force on a day. A loan is governed by the version in force on its
disbursement date for its whole life. The file is checked whole when it is loaded: a missing figure, an
unknown unit or a gap stops the start with a line that says what to mend.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from shared.money import parse_money

FILE = Path(__file__).parent / "pinghu.toml"


class MeasuresNotInForce(Exception):
    """No version of the measures is in force on the day asked for."""


class MeasuresBroken(Exception):
    """The measures file does not say what it must."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Who bears how much of a loss, in percent (R-42)."""

    fund: int
    guarantor: int
    institution: int


@dataclass(frozen=True, slots=True)
class Category:
    """One ground for being on the support list (R-02)."""

    code: str
    zh: str
    en: str
    by_document: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """A member unit of the conference, one vote each (R-07)."""

    code: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a figure comes from: article and its words."""

    article: str
    text: str


@dataclass(frozen=True)
class Measures:
    """All figures in force on one day."""

    version: str
    enterprise_ceiling_fen: int
    rate_cap_bp: int
    market_priced: frozenset[str]
    ordinary_term_months: int
    approval_lapse_days: int
    report_working_days: int
    claim_after_days: int
    shares: Mapping[str, Shares]
    institution_year_cap_fen: int
    payout_days: int
    project_bar_years: int
    refusal_years: int
    default_day_count: int
    day_counts: tuple[int, ...]
    categories: tuple[Category, ...]
    units: tuple[Unit, ...]

    def shares_for(self, security_type: str) -> Shares:
        return self.shares[security_type]


UNITS = {
    "enterprise_ceiling": "yuan",
    "rate_cap": "basis_points",
    "market_priced": "security_types",
    "ordinary_term": "months",
    "approval_lapse": "days",
    "report_deadline": "working_days",
    "claim_wait": "days",
    "shares": "percent",
    "institution_year_cap": "yuan",
    "payout_deadline": "days",
    "project_bar": "years",
    "admission_refusal": "years",
    "day_count": "days_per_year",
    "categories": "categories",
    "units": "units",
}


@dataclass(frozen=True)
class Book:
    """A whole measures file: its versions by the day each begins, and where each figure comes from."""

    versions: Mapping[date, Measures]
    citations: Mapping[str, Citation]

    def on(self, day: date) -> Measures:
        """The version in force on `day`; MeasuresNotInForce before the first."""
        begun = [start for start in self.versions if start <= day]
        if not begun:
            raise MeasuresNotInForce(f"no measures in force on {day}")
        return self.versions[max(begun)]

    @property
    def first_day(self) -> date:
        return min(self.versions)


def load(path: Path) -> Book:
    """Read and check a measures file. Raises MeasuresBroken with what to mend."""
    figures: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    for name, unit in UNITS.items():
        figure = figures.get(name)
        if not isinstance(figure, dict):
            raise MeasuresBroken(f"{path.name}: [{name}] is missing")
        if figure.get("unit") != unit:
            raise MeasuresBroken(f"{path.name}: [{name}] unit must be {unit!r}, not {figure.get('unit')!r}")
        if not figure.get("article") or not figure.get("text") or not figure.get("values"):
            raise MeasuresBroken(f"{path.name}: [{name}] needs article, text and values")
    starts = sorted({line["from"] for name in UNITS for line in figures[name]["values"]})
    versions = {}
    for start in starts:
        try:
            versions[start] = _measures(start, {name: _value(figures[name], start) for name in UNITS})
        except (KeyError, TypeError, ValueError) as error:
            raise MeasuresBroken(f"{path.name}: as of {start}: {error}") from error
    return Book(versions, {n: Citation(figures[n]["article"], figures[n]["text"]) for n in UNITS})


def _value(figure: Mapping[str, Any], day: date) -> Any:
    begun = [line for line in figure["values"] if line["from"] <= day]
    if not begun:
        raise ValueError(f"a figure of {figure['article']} has no value on {day}")
    return max(begun, key=lambda line: line["from"])["value"]


def _measures(start: date, value: Mapping[str, Any]) -> Measures:
    shares = {security: Shares(*parts) for security, parts in value["shares"].items()}
    for security, share in shares.items():
        if share.fund + share.guarantor + share.institution != 100:
            raise ValueError(f"the shares of {security} do not add up to 100")
    return Measures(
        version=start.isoformat(),
        enterprise_ceiling_fen=parse_money(value["enterprise_ceiling"]),
        rate_cap_bp=int(value["rate_cap"]),
        market_priced=frozenset(value["market_priced"]),
        ordinary_term_months=int(value["ordinary_term"]),
        approval_lapse_days=int(value["approval_lapse"]),
        report_working_days=int(value["report_deadline"]),
        claim_after_days=int(value["claim_wait"]),
        shares=shares,
        institution_year_cap_fen=parse_money(value["institution_year_cap"]),
        payout_days=int(value["payout_deadline"]),
        project_bar_years=int(value["project_bar"]),
        refusal_years=int(value["admission_refusal"]),
        default_day_count=value["day_count"][0],
        day_counts=tuple(value["day_count"]),
        categories=tuple(Category(**category) for category in value["categories"]),
        units=tuple(Unit(**unit) for unit in value["units"]),
    )


@cache
def book() -> Book:
    """This installation's measures: another city's file by KECHUANG_MEASURES."""
    return load(Path(os.environ.get("KECHUANG_MEASURES") or FILE))


@cache
def measures_on(day: date) -> Measures:
    """The measures in force on a business date. Raises MeasuresNotInForce before the first version."""
    return book().on(day)


def first_day() -> date:
    """The first day any version is in force: nothing before it is governed by the scheme (R-25)."""
    return book().first_day
