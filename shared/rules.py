"""What a rule says: a verdict in both languages, with the rule's id and the article it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["zh", "en"]


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in Chinese and in English."""

    zh: str
    en: str

    def say(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one rule: allowed or not, which rule (R-xx) and article (M-x) said so, and why."""

    allowed: bool
    rule: str
    article: str
    reason: Text

    def __bool__(self) -> bool:
        return self.allowed


def allow(rule: str, article: str = "") -> Verdict:
    """The rule is met."""
    return Verdict(True, rule, article, Text("符合", "met"))


def refuse(rule: str, article: str, zh: str, en: str) -> Verdict:
    """The rule is not met; the reason names the figures and says how to mend it."""
    return Verdict(False, rule, article, Text(zh, en))
