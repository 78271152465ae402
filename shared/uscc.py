"""Unified social credit codes (GB 32100-2015, R-01): what is a true one, and what is wrong with others. Pure.

18 characters of an alphabet without I, O, S, V and Z: registering authority, kind of entity, six digits
of the region, nine of the organisation, and a check character: the sum of the characters' values times
3^position is divisible by 31. (Libraries such as python-stdnum demand digits in the first two places; the
standard gives letters there too, `N` for farming cooperatives, `Y` for others, so those are not refused.)
"""

from __future__ import annotations

import re
import unicodedata
from operator import mul
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from shared.rules import Text

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
WEIGHTS = (*(pow(3, place, 31) for place in range(17)), 1)
VALUES = bytes.maketrans(ALPHABET.encode(), bytes(range(31)))
FORM = re.compile(r"[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}")
LOOKS_LIKE = {"O": "0", "I": "1", "S": "5", "V": "U", "Z": "2"}
EXPONENT = re.compile(r"[0-9.]+E\+?[0-9]+")


def check_character(first_17: str) -> str:
    """The 18th character of a code."""
    weighed = sum(map(mul, WEIGHTS, first_17.encode().translate(VALUES)))
    return ALPHABET[-weighed % len(ALPHABET)]


INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
"""Characters nobody sees, left behind by copying from web pages and chats."""


def tidy(written: str) -> str:
    """What was meant: no spaces, nothing invisible, capitals, half-width characters."""
    if written.isascii():
        return written.strip().upper() if " " not in written.strip() else "".join(written.split()).upper()
    return "".join(INVISIBLE.sub("", unicodedata.normalize("NFKC", written)).split()).upper()


def is_true(code: str) -> bool:
    """Is this tidy code one of GB 32100-2015?"""
    if FORM.fullmatch(code) is None:
        return False
    weighed: int = sum(map(mul, WEIGHTS, code.encode().translate(VALUES)))
    return weighed % len(ALPHABET) == 0


def fault(code: str) -> Text:
    """What is wrong with a tidy code that is not true, and how to mend it."""
    if EXPONENT.fullmatch(code):
        return Text(
            "代码被存成了数字（科学计数法），后几位已丢失：请把该列设为“文本”格式后重新填写",
            "the code was stored as a number and its last digits are lost: "
            "format the column as text and enter it again",
        )
    if len(code) != 18:
        return Text(f"应为 18 位，现为 {len(code)} 位", f"must have 18 characters, has {len(code)}")
    strange = [char for char in code if char not in ALPHABET]
    if strange:
        meant = [f"{char}→{LOOKS_LIKE[char]}" for char in dict.fromkeys(strange) if char in LOOKS_LIKE]
        return Text(
            f"含有代码中不用的字符 {'、'.join(dict.fromkeys(strange))}"
            + (f"（是否应为 {'、'.join(meant)}？）" if meant else ""),
            f"has characters no code has: {' '.join(dict.fromkeys(strange))}"
            + (f" (meant: {', '.join(meant)}?)" if meant else ""),
        )
    if FORM.fullmatch(code) is None:
        return Text("第 3 至 8 位应为数字（登记机关行政区划码）", "characters 3 to 8 must be digits")
    return Text(
        "校验位不符：请核对是否抄错（如 0 与 D、8 与 B）",
        "the check character does not match: look for a slip (0 for D, 8 for B)",
    )


def _true_code(written: str) -> str:
    code = tidy(written)
    if not is_true(code):
        words = fault(code)
        raise PydanticCustomError("uscc", "{zh}; {en}", {"zh": words.zh, "en": words.en})
    return code


Uscc = Annotated[
    str,
    Field(min_length=18, max_length=36, examples=["91330482MA2B8QJ504"]),
    AfterValidator(_true_code),
]
"""A unified social credit code in a request, tidied; refused when its check character fails (R-01)."""
