"""Neighbours in a bucket are looked at together: what was made of them, and their sources once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from storaged.errors import AlreadyExists, ObjectNotFound, PermissionDenied, VerificationFailed
from storaged.stores.access import Opening
from storaged.stores.base import New, Stat
from storaged.stores.copies import Copy, CopySource
from storaged.stores.s3 import together
from storaged.stores.s3.connections import BESIDE
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


def beside(tier: S3Store, source: CopySource, key: str, what: New) -> Stat | None:
    assert what.origin is not None
    return tier.copies([Copy(key, what.origin, source)]).get(key)


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
@pytest.mark.parametrize(("make", "put"), [(copied, "CopyObject"), (beside, "CopyObject"), (sent, "PutObject")])
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
        assert {r.operation for r in moto.log()} == (set() if make is sent else {put})
    asked = Counter(r.operation for r in moto.log())
    reached = [first] if between else list(made)
    assert asked == {put: WORTH, "ListObjectsV2": 1, **({"HeadObject": WORTH - 1} if between else {})}
    assert told == {key: tier.head(key) for key in made}
    assert make is sent or made == told
    assert {bool(stat and stat.identity) for stat in made.values()} == {make is not sent}
    assert tier.identities(list(made)) == {key: tier.identity(key) for key in reached}
    assert tier.identities(list(made)[1:]) == {}, "a listing would cost more"


# MUST 4
@pytest.mark.parametrize("make", [copied, beside, sent])
@pytest.mark.parametrize("copies", [1, WORTH])
@pytest.mark.parametrize("instead", [b"other!" * 700, b"", None])
def test_where_neighbours_end_what_is_not_there_as_it_was_told_is_said(
    tier: S3Store,
    source: CopySource,
    s3_user: Any,
    bucket: str,
    make: Make,
    copies: int,
    instead: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(together, "HELD", 0)  # so that what is sent is there before they end
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


# MUST 2
def test_of_what_is_sent_side_by_side_each_is_told_by_itself(
    tier: S3Store, moto: MotoServer, s3_user: Any, bucket: str
) -> None:
    """A refusal is of one, nothing is overwritten, and what had no answer is asked for again."""
    _ = tier.traits
    made = dict(new() for _ in range(BESIDE + 3))
    taken, refused, *right = made
    s3_user.put_object(Bucket=bucket, Key=f"cold/{taken}", Body=b"mine")
    moto.clear_log()
    with tier.near() as told:
        for key, what in made.items():
            assert what.origin is not None
            with tier.create(key, replace(what, size=len(DATA), later=True)) as upload:
                upload.write(DATA)
                assert upload.commit(what.origin) == Stat(key, len(DATA), "", 0)
        assert moto.log() == []
        moto.faults.add("AccessDenied", operation="PutObject", key=made[refused].attempt, times=2)
        moto.faults.add("SlowDown", operation="PutObject", key=made[right[-1]].attempt)
    moto.faults.assert_all_fired()
    assert Counter(r.operation for r in moto.log())["PutObject"] == len(made) + 3
    assert {key: type(ended) for key, ended in told.items() if not isinstance(ended, Stat)} == {
        taken: AlreadyExists,
        refused: PermissionDenied,
    }
    assert {key: ended for key, ended in told.items() if isinstance(ended, Stat)} == {k: tier.head(k) for k in right}
    assert s3_user.get_object(Bucket=bucket, Key=f"cold/{taken}")["Body"].read() == b"mine"


# MUST 2, 5
def test_of_copies_side_by_side_none_is_of_another_thing_or_onto_another(
    tier: S3Store, source: CopySource, moto: MotoServer, s3_user: Any, bucket: str
) -> None:
    """What is refused is left out, and those beside it are made."""
    wanted = [Copy(key, what.origin, source) for key, what in (new() for _ in range(BESIDE + 3)) if what.origin]
    wanted[1] = wanted[1]._replace(source=replace(source, etag="0" * 32))
    s3_user.put_object(Bucket=bucket, Key=f"cold/{wanted[2].key}", Body=b"mine")
    right = {one.key for number, one in enumerate(wanted) if number not in (1, 2)}
    moto.clear_log()
    with tier.near() as told:
        made = tier.copies(wanted)
    assert Counter(r.operation for r in moto.log())["CopyObject"] == len(wanted)
    assert made.keys() == right
    assert made == told == {key: tier.head(key) for key in right}
    assert {tier.origin(one.key) for one in wanted if one.key in right} == {
        replace(one.origin, mtime_us=0) for one in wanted if one.key in right
    }
    assert s3_user.get_object(Bucket=bucket, Key=f"cold/{wanted[2].key}")["Body"].read() == b"mine"
    with pytest.raises(ObjectNotFound):
        tier.head(wanted[1].key)
    assert tier.copies(wanted) == {}, "outside of `near` nothing would look at them"


def test_originals_are_opened_side_by_side(moto: MotoServer, s3_user: Any, bucket: str, tier: S3Store) -> None:
    for number in range(BESIDE + 3):
        s3_user.put_object(Bucket=bucket, Key=f"cold/{number:02}", Body=b"x" * number)
    wanted = {one.key: one.identity for one in tier.list() if isinstance(one, Stat)}
    s3_user.put_object(Bucket=bucket, Key="cold/03", Body=b"other")
    s3_user.delete_object(Bucket=bucket, Key="cold/04")
    moto.clear_log()
    found = tier.opened(wanted)
    assert {r.operation for r in moto.log()} == {"HeadObject"}
    assert found.keys() == wanted.keys() - {"03", "04"}
    assert {key: len(reader.read_at(0, 100)) for key, reader in found.items()} == {key: int(key) for key in found}
