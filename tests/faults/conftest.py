"""The reckoning's assertions say what they found, as a test's own do; a run's seed."""

from __future__ import annotations

import os
from random import Random

import pytest

pytest.register_assert_rewrite("tests.faults.reckoning", "tests.faults.load")


@pytest.fixture
def seed() -> int:
    """The seed of this run: KECHUANG_SEED, or a new one; printed, so that a failure can be tried again."""
    seed = int(os.environ.get("KECHUANG_SEED") or Random().randrange(1_000_000))
    print(f"KECHUANG_SEED={seed}")
    return seed
