"""What of a pack counts as one object's: the same in SQL as in Python, for packs of any size."""

from __future__ import annotations

import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storaged.catalog.blobs import share_of
from storaged.catalog.engine import Catalog
from storaged.model import share

MOST = 2**41  # bytes of a pack


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, MOST), packed_bytes=st.integers(0, MOST), length=st.integers(0, MOST), data=st.data())
@example(size=7, packed_bytes=0, length=3, data=None)
@example(size=MOST, packed_bytes=MOST - 1, length=MOST - 1, data=None)
@example(size=MOST - 2, packed_bytes=MOST - 1, length=MOST - 1, data=None)
def test_a_share_is_the_same_on_every_database(
    catalog: Catalog, size: int, packed_bytes: int, length: int, data: st.DataObject | None
) -> None:
    length = min(length, packed_bytes)  # what is in a pack is no larger than all of it
    before = 0 if data is None else data.draw(st.integers(0, packed_bytes - length))
    given_ = [sa.literal(number, sa.BigInteger()) for number in (size, packed_bytes, length, before)]
    with catalog.read() as conn:
        assert conn.execute(sa.select(share_of(*given_))).scalar_one() == share(size, packed_bytes, length, before)
        assert conn.execute(sa.select(share_of(*given_[:3]))).scalar_one() == share(size, packed_bytes, length)


@given(size=st.integers(0, MOST), lengths=st.lists(st.integers(0, 2**30), min_size=1))
def test_shares_add_up_to_the_whole_pack(size: int, lengths: list[int]) -> None:
    """However small the members are: rounded down each by itself, they would lack up to a byte each."""
    packed_bytes = max(sum(lengths), 1)
    before = [sum(lengths[:n]) for n in range(len(lengths))]
    shares = [share(size, packed_bytes, length, so_far) for length, so_far in zip(lengths, before, strict=True)]
    assert sum(shares) == (size if any(lengths) else 0)
    assert all(0 <= one - size * length // packed_bytes <= 1 for one, length in zip(shares, lengths, strict=True))
