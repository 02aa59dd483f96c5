"""Neighbours in a bucket are looked at together: what was made of them, and their sources once more."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from storaged.errors import ObjectNotFound, VerificationFailed
from storaged.stores.access import Opening
from storaged.stores.copies import CopySource
from storaged.stores.s3.store import S3Store
from storaged.stores.s3.together import WORTH
from storaged.testing.servers import MotoServer
from tests.stores.test_s3_copy import KEY, PUT, copy, new, source_of

DATA = b"a,b\n" * 1_000


@pytest.fixture
def tier(moto: MotoServer, bucket: str) -> S3Store:
    return S3Store(f"s3://{bucket}/cold", Opening(access=moto.access))


@pytest.fixture
def source(moto: MotoServer, s3_user: Any, bucket: str, tier: S3Store) -> CopySource:
    """An object of another store of the bucket, from which the server is known to copy."""
    s3_user.put_object(Bucket=bucket, Key=f"lake/{KEY}", Body=DATA)
    found = source_of(S3Store(f"s3://{bucket}/lake", Opening(access=moto.access)))
    assert copy(tier, found) is not None
    return found


# MUST 4
@pytest.mark.parametrize("between", [0, 40])
def test_copies_of_neighbours_are_looked_at_by_a_listing_where_they_end(
    tier: S3Store, source: CopySource, moto: MotoServer, s3_user: Any, bucket: str, between: int
) -> None:
    """What one page does not reach, as others lie between them, is looked at by itself."""
    keys = sorted((new() for _ in range(WORTH)), key=lambda made: made[0])
    first = keys[0][0]
    for number in range(between):
        s3_user.put_object(Bucket=bucket, Key=f"cold/{first}{number}", Body=b"")
    moto.clear_log()
    with tier.near():
        told = {key: tier.copy(key, what, source) for key, what in keys}
        assert {r.operation for r in moto.log()} == {PUT}
    asked = Counter(r.operation for r in moto.log())
    reached = [first] if between else list(told)
    assert asked == {PUT: WORTH, "ListObjectsV2": 1, **({"HeadObject": WORTH - 1} if between else {})}
    assert told == {key: tier.head(key) for key in told}
    assert tier.identities(list(told)) == {key: tier.identity(key) for key in reached}
    assert tier.identities(list(told)[1:]) == {}, "a listing would cost more"


# MUST 4
@pytest.mark.parametrize("copies", [1, WORTH])
@pytest.mark.parametrize("instead", [b"other!" * 700, b"", None])
def test_where_neighbours_end_what_is_not_there_as_it_was_told_is_said(
    tier: S3Store, source: CopySource, s3_user: Any, bucket: str, copies: int, instead: bytes | None
) -> None:
    wrong = VerificationFailed if instead is not None else ObjectNotFound
    with pytest.raises(wrong), tier.near():  # noqa: PT012 (it is the end of it that raises)
        made = [copy(tier, source) for _ in range(copies)]
        assert made[-1] is not None
        place = {"Bucket": bucket, "Key": f"cold/{made[-1].key}"}
        s3_user.delete_object(**place)
        if instead is not None:
            s3_user.put_object(**place, Body=instead[: source.size])
    assert copy(tier, source) is not None, "by itself again"
