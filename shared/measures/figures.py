"""The figures of the measures as types: what the rules may ask, and the unit each figure is kept in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SECURITY_TYPES = ("credit", "pledge", "ip_pledge", "guarantee", "mortgage")

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
    "evidence_size": "bytes",
    "categories": "categories",
    "units": "units",
}
"""Every figure a measures file must hold, by its name in the file, with its unit."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Who bears how much of a loss, in percent; they add up to 100 (R-42)."""

    fund: int
    guarantor: int
    institution: int


@dataclass(frozen=True, slots=True)
class Category:
    """One ground for being on the support list (R-02); `by_document`: it rests on a recognition
    document, the other by the conference's vote (R-07)."""

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
    """Where a figure comes from: article, the article's own words, and the reading where they name none."""

    article: str
    text: str
    reading: str | None


@dataclass(frozen=True, slots=True)
class Measures:
    """All figures in force on one day; `version` is the day they came into force, as YYYY-MM-DD."""

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
    evidence_bytes: int
    categories: tuple[Category, ...]
    units: tuple[Unit, ...]

    def shares_for(self, security_type: str) -> Shares:
        """The shares of a loan of this security type; KeyError for a type the scheme does not know."""
        return self.shares[security_type]
