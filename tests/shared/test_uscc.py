"""Unified social credit codes: what is a true one, and what was meant by a written one (R-01)."""

from __future__ import annotations

import pytest

from shared import uscc


@pytest.mark.parametrize(
    ("code", "true"),
    [
        pytest.param("91110000600037341L", True, id="R-01 a true code"),
        pytest.param("91330482MA2B8QJ504", True, id="R-01 letters in the organisation's part"),
        pytest.param("91330482MA2B8QJ50X", False, id="R-01 wrong check character"),
        pytest.param("911100006000373411", False, id="R-01 a slip in the last place"),
        pytest.param("91110000600037341", False, id="R-01 a character short"),
        pytest.param("9111000060003734lL", False, id="R-01 a small letter"),
        pytest.param("91110000600O37341L", False, id="R-01 a letter O"),
        pytest.param("91A10000600037341L", False, id="R-01 a letter in the region"),
    ],
)
def test_r01_a_code_is_true_by_its_check_character(code: str, true: bool) -> None:
    assert uscc.is_true(code) is true
    assert true or uscc.fault(code).zh


def test_r01_every_single_slip_is_found() -> None:
    code = "91330482MA2B8QJ504"
    slips = [
        code[:place] + other + code[place + 1 :]
        for place in range(18)
        for other in uscc.ALPHABET
        if other != code[place]
    ]
    assert [slip for slip in slips if uscc.is_true(slip)] == []


@pytest.mark.parametrize(
    "written",
    [
        "９１３３０４８２ＭＡ２Ｂ８ＱＪ５０４",
        " 91330482MA2B8QJ504 ",
        "91330482ma2b8qj504",
        "91330482 MA2B8QJ50 4",
        "\ufeff91330482\u200bMA2B8QJ504",
    ],
)
def test_r01_what_was_meant_is_read(written: str) -> None:
    assert uscc.tidy(written) == "91330482MA2B8QJ504"
