"""The reckoning's assertions say what they found, as a test's own do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.faults.reckoning")
