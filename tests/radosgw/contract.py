"""The store contract, and what storaged does on Ceph's answers, on the real one. `make radosgw` runs it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from storaged.testing.things import Put
from tests.stores import test_s3_contract, test_s3_rgw
from tests.stores.test_s3_rgw import moto, s3_user, store

__all__ = ["moto", "s3_user", "store"]

globals().update({name: test for name, test in vars(test_s3_rgw).items() if name.startswith("test_")})


class _Real:
    @pytest.fixture
    def raw_put(self, s3_user: Any, place: str) -> Put:
        """An identity has whole seconds, and this server has no clock of ours."""
        written: dict[str, int] = {}

        def put(key: str, data: bytes) -> None:
            while written.get(key) == int(time.time()):
                time.sleep(0.05)
            s3_user.put_object(Bucket=place, Key=key, Body=data)
            written[key] = int(time.time())

        return put


class TestPlain(_Real, test_s3_contract.TestOnRgw):
    pass


class TestSuspended(_Real, test_s3_contract.TestOnSuspendedRgw):
    pass


class TestVersioned(_Real, test_s3_contract.TestOnVersionedRgw):
    pass
