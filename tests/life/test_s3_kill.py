"""A real process under SIGKILL, with its cold tier on S3: in mid-upload, swap, journal and release."""

from __future__ import annotations

import os

import pytest

from tests.life.test_kill import Kills
from tests.life.test_kill import test_a_process_killed_at_any_moment_loses_nothing as _killed

LONG = bool(os.environ.get("STORAGED_LONG"))

test_a_process_killed_at_any_moment_loses_nothing_on_s3 = _killed
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def layout() -> str:
    return "mixed"


@pytest.fixture
def dialect() -> str:
    return "sqlite"


@pytest.fixture
def kills() -> Kills:
    """What does not shrink is sent in parts: there has to be a multipart upload to be killed in."""
    return Kills(40 if LONG else 4, big=6_000_000, noise=40_000_000)
