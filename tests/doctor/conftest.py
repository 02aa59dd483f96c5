"""A fresh world per test, at the machine's own time, so that no clock is off."""

from __future__ import annotations

import pytest

from storaged.clock import SystemClock
from storaged.testing import FakeClock
from tests.life.conftest import layout, new_bucket, new_catalog, new_places, world

__all__ = ["layout", "new_bucket", "new_catalog", "new_places", "world"]


@pytest.fixture
def clock() -> FakeClock:
    """A clock that only the test moves, from now on."""
    return FakeClock(SystemClock().now_us())
