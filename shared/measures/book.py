"""Reading a measures file, and checking it whole: nothing of the scheme starts on a file that is wrong.

A file is TOML: one table per figure (`unit`, `article`, `text`, perhaps `reading`) with its dated
`values`. A new value is a new line with the day it is in force from; every day on which any figure
changes begins a new version of the measures.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shared.measures.figures import SECURITY_TYPES, UNITS, Category, Citation, Measures, Shares, Unit
from shared.money import parse_money

ARTICLE = re.compile(r"M-[一二三四五六七八九十]+(\([一二三四五六七八九十]+\))?")


class MeasuresNotInForce(Exception):
    """No version of the measures is in force on the day asked for."""


class MeasuresBroken(Exception):
    """The measures file does not say what it must; the message names the figure and what to mend."""


@dataclass(frozen=True)
class Book:
    """A whole measures file: its versions by the day each begins, and where each figure comes from."""

    title: str
    versions: Mapping[date, Measures]
    citations: Mapping[str, Citation]
    values: Mapping[str, tuple[tuple[date, Any], ...]]
    """Each figure's values as written, with the day each is in force from."""

    def on(self, day: date) -> Measures:
        """The version in force on `day`; MeasuresNotInForce before the first."""
        begun = [start for start in self.versions if start <= day]
        if not begun:
            raise MeasuresNotInForce(f"no measures in force on {day}; the first begin on {self.first_day}")
        return self.versions[max(begun)]

    @property
    def first_day(self) -> date:
        return min(self.versions)


def load(path: Path) -> Book:
    """Read and check a measures file. Raises MeasuresBroken with what to mend."""
    try:
        return _book(tomllib.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:  # TOML and UTF-8 errors are ValueErrors
        raise MeasuresBroken(f"{path}: {error}") from error


def _book(file: Mapping[str, Any]) -> Book:
    unknown = file.keys() - UNITS.keys() - {"scheme", "title"}
    if unknown:
        raise ValueError(f"unknown figure {', '.join(sorted(unknown))}")
    title = _words(file, "title", "the file")
    citations = {name: _citation(name, file.get(name)) for name in UNITS}
    values = {name: _values(name, file[name].get("values")) for name in UNITS}
    starts = sorted({start for dated in values.values() for start, _ in dated})
    versions = {start: _measures(start, _on(start, values)) for start in starts}
    return Book(title, MappingProxyType(versions), MappingProxyType(citations), MappingProxyType(values))


def _citation(name: str, figure: Any) -> Citation:
    if not isinstance(figure, dict):
        raise ValueError(f"[{name}] is missing")  # noqa: TRY004  every fault of the file is one kind
    strange = figure.keys() - {"unit", "article", "text", "reading", "values"}
    if strange:
        raise ValueError(f"[{name}] has no place for {', '.join(sorted(strange))}")
    if figure.get("unit") != UNITS[name]:
        raise ValueError(f"[{name}] unit must be {UNITS[name]!r}, not {figure.get('unit')!r}")
    article = _words(figure, "article", f"[{name}]")
    if ARTICLE.fullmatch(article) is None:
        raise ValueError(f"[{name}] article must look like M-五(一), not {article!r}")
    reading = _words(figure, "reading", f"[{name}]") if "reading" in figure else None
    return Citation(article, _words(figure, "text", f"[{name}]"), reading)


def _values(name: str, lines: Any) -> tuple[tuple[date, Any], ...]:
    if not isinstance(lines, list) or not lines:
        raise ValueError(f"[{name}] has no values")
    for line in lines:
        if not isinstance(line, dict) or line.keys() != {"from", "value"} or type(line["from"]) is not date:
            raise ValueError(f"[{name}] every value needs `from` (a day) and `value`, and nothing else")
    days = [line["from"] for line in lines]
    if days != sorted(set(days)):
        raise ValueError(f"[{name}] values must be in the order of their days, one for a day")
    return tuple((line["from"], line["value"]) for line in lines)


def _on(day: date, values: Mapping[str, tuple[tuple[date, Any], ...]]) -> dict[str, Any]:
    """Each figure's value in force on a day: a figure that begins later than the others leaves a gap."""
    in_force = {}
    for name, dated in values.items():
        begun = [value for start, value in dated if start <= day]
        if not begun:
            raise ValueError(f"[{name}] has no value on {day}, when other figures are in force")
        in_force[name] = begun[-1]
    return in_force


def _measures(start: date, value: Mapping[str, Any]) -> Measures:
    day_counts = tuple(_whole("day_count", days) for days in _listed("day_count", value["day_count"]))
    return Measures(
        version=start.isoformat(),
        enterprise_ceiling_fen=_money("enterprise_ceiling", value),
        rate_cap_bp=_whole("rate_cap", value["rate_cap"]),
        market_priced=frozenset(_security(value["market_priced"])),
        ordinary_term_months=_whole("ordinary_term", value["ordinary_term"]),
        approval_lapse_days=_whole("approval_lapse", value["approval_lapse"]),
        report_working_days=_whole("report_deadline", value["report_deadline"]),
        claim_after_days=_whole("claim_wait", value["claim_wait"]),
        shares=MappingProxyType(_shares(value["shares"])),
        institution_year_cap_fen=_money("institution_year_cap", value),
        payout_days=_whole("payout_deadline", value["payout_deadline"]),
        project_bar_years=_whole("project_bar", value["project_bar"]),
        refusal_years=_whole("admission_refusal", value["admission_refusal"]),
        default_day_count=day_counts[0],
        day_counts=day_counts,
        evidence_bytes=_whole("evidence_size", value["evidence_size"]),
        categories=_categories(value["categories"]),
        units=tuple(Unit(**unit) for unit in _named("units", value["units"], {"code", "zh", "en"})),
    )


def _words(table: Mapping[str, Any], key: str, where: str) -> str:
    words = table.get(key)
    if not isinstance(words, str) or not words.strip():
        raise ValueError(f"{where} needs {key} in words")
    return words


def _whole(name: str, value: Any) -> int:
    if type(value) is not int or value <= 0:
        raise ValueError(f"[{name}] must be a whole number above zero, not {value!r}")
    return value


def _money(name: str, value: Mapping[str, Any]) -> int:
    text = value[name]
    try:
        return _whole(name, parse_money(text if isinstance(text, str) else ""))
    except ValueError as error:
        raise ValueError(f'[{name}] must be an amount above zero such as "10000000.00"') from error


def _listed(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"[{name}] must be a list that is not empty")
    return value


def _security(value: Any) -> list[Any]:
    if not isinstance(value, list) or any(kind not in SECURITY_TYPES for kind in value):
        raise ValueError(f"[market_priced] lists security types: {', '.join(SECURITY_TYPES)}")
    return value


def _shares(value: Any) -> dict[str, Shares]:
    if not isinstance(value, dict) or value.keys() != set(SECURITY_TYPES):
        raise ValueError(f"[shares] needs each of {', '.join(SECURITY_TYPES)}, and nothing else")
    shares = {}
    for security, parts in value.items():
        if not isinstance(parts, list) or len(parts) != 3 or any(type(p) is not int or p < 0 for p in parts):
            raise ValueError(f"[shares] {security} needs fund, guarantor and institution in whole percent")
        if sum(parts) != 100:
            raise ValueError(f"[shares] {security} adds up to {sum(parts)}, not 100")
        if security != "guarantee" and parts[1]:
            raise ValueError(f"[shares] {security} has no guarantor to bear {parts[1]} percent")
        shares[security] = Shares(*parts)
    return shares


def _named(name: str, value: Any, members: set[str]) -> list[dict[str, Any]]:
    rows = _listed(name, value)
    for row in rows:
        if not isinstance(row, dict) or row.keys() != members:
            raise ValueError(f"[{name}] each needs {', '.join(sorted(members))}, and nothing else")
    codes = [row["code"] for row in rows]
    if len(set(codes)) != len(codes):
        raise ValueError(f"[{name}] a code is there twice")
    return rows


def _categories(value: Any) -> tuple[Category, ...]:
    rows = _named("categories", value, {"code", "zh", "en", "by_document"})
    categories = tuple(Category(**row) for row in rows)
    if [category.by_document for category in categories].count(False) != 1:
        raise ValueError("[categories] exactly one is by the conference's vote (by_document = false)")
    return categories
