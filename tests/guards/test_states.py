"""A refused move is said in Chinese too: every state and move of every service has its Chinese word."""

from __future__ import annotations

import re
import sys

import pytest

from services import city
from shared.measures.weave import ROOT
from shared.problems import IllegalMove
from shared.states import MOVES_ZH, STATES_ZH, Moves

USED = re.compile(r'\.after\(\s*[^,()]+,\s*"(\w+)"')


def tables() -> list[Moves]:
    """Those of all services, which are loaded with the city."""
    assert city.SERVICES
    services = [module for name, module in sys.modules.items() if name.startswith("services.")]
    return [value for module in services for value in vars(module).values() if isinstance(value, Moves)]


def test_every_state_and_every_move_has_a_chinese_word() -> None:
    assert len(tables()) >= 6
    assert {state for table in tables() for state in table.states} <= STATES_ZH.keys()
    assert {move for table in tables() for _, move in table.table} <= MOVES_ZH.keys()
    for path in (ROOT / "services").rglob("*.py"):
        assert set(USED.findall(path.read_text("utf-8"))) <= MOVES_ZH.keys(), path


def test_a_refused_move_is_said_in_the_reader_s_language() -> None:
    with pytest.raises(IllegalMove) as refused:
        Moves({("approved", "pay"): "paid", ("approved", "cancel"): "cancelled"}).after("approved", "return")
    assert refused.value.detail.zh == "当前状态“已通过”不能“退回”；可以：撤销、支付代偿款"
    assert refused.value.detail.en == "not possible: return in state approved; possible: cancel, pay"
