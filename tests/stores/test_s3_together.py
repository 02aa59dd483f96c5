"""Neighbours in a bucket are looked at together: what was made of them, and their sources once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from storaged.errors import ObjectNotFound, VerificationFailed
from storaged.stores.access import Opening
from storaged.stores.base import New, Stat
from storaged.stores.copies import CopySource
from storaged.stores.s3.store import S3Store
from storaged.stores.s3.together import WORTH
from storaged.testing.servers import MotoServer
from tests.stores.test_s3_copy import KEY, copy, new, source_of

DATA = b"a,b\n" * 1_000
Make = Callable[[S3Store, CopySource, str, New], Stat | None]


def copied(tier: S3Store, source: CopySource, key: str, what: New) -> Stat | None:
    return tier.copy(key, what, source)


def sent(tier: S3Store, source: CopySource, key: str, what: New) -> Stat | None:
    assert what.origin is not None
    with tier.create(key, replace(what, size=len(DATA), later=True)) as upload:
        upload.write(DATA)
        made = upload.commit(what.origin)
        assert upload.proven
    return made


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
@pytest.mark.parametrize(("make", "put"), [(copied, "CopyObject"), (sent, "PutObject")])
def test_what_is_made_of_neighbours_is_looked_at_by_a_listing_where_they_end(
    tier: S3Store, source: CopySource, moto: MotoServer, s3_user: Any, bucket: str, make: Make, put: str, between: int
) -> None:
    """What one page does not reach, as others lie between them, is looked at by itself. What is sent has its time of
    change, and so its identity, from there."""
    keys = sorted((new() for _ in range(WORTH)), key=lambda made: made[0])
    first = keys[0][0]
    for number in range(between):
        s3_user.put_object(Bucket=bucket, Key=f"cold/{first}{number}", Body=b"")
    moto.clear_log()
    with tier.near() as told:
        made = {key: make(tier, source, key, what) for key, what in keys}
        assert {r.operation for r in moto.log()} == {put}
    asked = Counter(r.operation for r in moto.log())
    reached = [first] if between else list(made)
    assert asked == {put: WORTH, "ListObjectsV2": 1, **({"HeadObject": WORTH - 1} if between else {})}
    assert told == {key: tier.head(key) for key in made}
    assert make is sent or made == told
    assert {bool(stat and stat.identity) for stat in made.values()} == {make is copied}
    assert tier.identities(list(made)) == {key: tier.identity(key) for key in reached}
    assert tier.identities(list(made)[1:]) == {}, "a listing would cost more"


# MUST 4
@pytest.mark.parametrize("make", [copied, sent])
@pytest.mark.parametrize("copies", [1, WORTH])
@pytest.mark.parametrize("instead", [b"other!" * 700, b"", None])
def test_where_neighbours_end_what_is_not_there_as_it_was_told_is_said(
    tier: S3Store, source: CopySource, s3_user: Any, bucket: str, make: Make, copies: int, instead: bytes | None
) -> None:
    wrong = VerificationFailed if instead is not None else ObjectNotFound
    with pytest.raises(wrong), tier.near():  # noqa: PT012 (it is the end of it that raises)
        made = [make(tier, source, *new()) for _ in range(copies)]
        assert made[-1] is not None
        place = {"Bucket": bucket, "Key": f"cold/{made[-1].key}"}
        s3_user.delete_object(**place)
        if instead is not None:
            s3_user.put_object(**place, Body=instead[: source.size])
    assert copy(tier, source) is not None, "by itself again"
    stat = sent(tier, source, *new())
    assert stat is not None
    assert stat == tier.head(stat.key)
