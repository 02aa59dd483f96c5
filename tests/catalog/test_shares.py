"""What of a pack counts as one object's: the same in SQL as in Python, for packs of any size."""

from __future__ import annotations

import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storaged.catalog.blobs import share_of
from storaged.catalog.engine import Catalog
from storaged.model import share


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 2**45), packed_bytes=st.integers(0, 2**45), length=st.integers(0, 2**34))
@example(size=2**45, packed_bytes=2**45 - 1, length=2**34)
@example(size=2**45 - 2, packed_bytes=2**45 - 1, length=2**34)
@example(size=7, packed_bytes=0, length=3)
def test_a_share_is_the_same_on_every_database(catalog: Catalog, size: int, packed_bytes: int, length: int) -> None:
    length = min(length, packed_bytes)  # what is in a pack is no larger than all of it
    given_ = (sa.literal(number, sa.BigInteger()) for number in (size, packed_bytes, length))
    with catalog.read() as conn:
        assert conn.execute(sa.select(share_of(*given_))).scalar_one() == share(size, packed_bytes, length)
