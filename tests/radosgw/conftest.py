"""The real one in the place of the personality."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storaged.clock import SECOND
from storaged.testing import FakeClock
from tests.radosgw.cluster import Cluster, unpack


@pytest.fixture(scope="session")
def rgw() -> Iterator[Cluster]:
    """One cluster for all."""
    cluster = Cluster(unpack(Path(os.environ["RADOSGW"])))
    yield cluster
    cluster.close()


@pytest.fixture
def clock() -> FakeClock:
    """It is the server's own clock that tells the time of an object."""
    return FakeClock(round(time.time()) * SECOND)
