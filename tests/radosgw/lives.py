"""The lives of tests/life/test_rgw.py on the real one. `make radosgw` runs it."""

from __future__ import annotations

from tests.life import test_rgw
from tests.life.conftest import moments, new_bucket, new_places, world
from tests.life.test_rgw import dialect, layout, moto, plain, s3_user, versioned

__all__ = ["dialect", "layout", "moments", "moto", "new_bucket", "new_places", "plain", "s3_user", "versioned"]
__all__ += ["world"]

globals().update({name: test for name, test in vars(test_rgw).items() if name.startswith("test_")})
