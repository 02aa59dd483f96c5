"""The machine of test_machine.py with everything on S3: root, tiers and journal."""

from __future__ import annotations

import pytest

from tests.life.test_machine import LONG, live

BUDGET = (150, 40) if LONG else (3, 20)  # lives, steps of each; a step is some hundred requests


@pytest.fixture
def layout() -> str:
    return "s3"


@pytest.mark.timeout(0 if LONG else 600)  # shrinking a failure takes its time, and is worth it
def test_whatever_happens_on_s3_the_user_reads_what_may_be_expected(request: pytest.FixtureRequest) -> None:
    live("sqlite", request, BUDGET)
