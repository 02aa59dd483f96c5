"""Frames of a pack: what is expected comes along, no frame twice, and what is wrong with one is of whoever needs it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.codecs.pack import PACK, Packed, ending
from storaged.codecs.pack.ending import Table
from storaged.codecs.pack.form import KEPT
from storaged.errors import StoreUnavailable, VerificationFailed
from storaged.testing.contents import BytesReader, content_of
from tests.codecs.pack_files import Given, member, packed
from tests.laws import tries

SIZE = 9_000
MEMBERS = [member(f"{n:04}", content_of(SIZE, seed=n, compressible=False)) for n in range(700)]  # some 14 of each frame


@pytest.fixture(scope="module")
def pack() -> tuple[bytes, bytes, list[Packed], Table]:
    made, blob, done = packed(MEMBERS)
    return blob, made.index, done, ending.of_index(made.index, len(blob), "blob")


Pack = tuple[bytes, bytes, list[Packed], Table]


def content(n: int) -> bytes:
    one: Given = MEMBERS[n]
    return one[1]


def span(at: Packed) -> tuple[int, int]:
    return at.offset, at.offset + at.length


def fetched(reader: BytesReader, table: Table) -> Counter[int]:
    """How often each frame was."""
    starts = list(table.starts)
    found: Counter[int] = Counter()
    for offset, length in reader.reads:
        found.update(range(starts.index(offset), starts.index(offset + length)))
    return found


def test_one_member_is_one_frame_and_a_second_look_none(pack: Pack) -> None:
    blob, index, done, table = pack
    reader = BytesReader(blob)
    frames = PACK.open(reader, index=index)
    for _ in range(2):
        assert frames.read_at(done[300].offset, SIZE) == content(300)
    assert set(fetched(reader, table).values()) == {1}
    assert len(reader.reads) == 1


def test_what_is_expected_comes_in_few_requests_and_what_lies_between_is_bridged_if_it_is_little(pack: Pack) -> None:
    blob, index, done, table = pack
    reader = BytesReader(blob)
    frames = PACK.open(reader, index=index)
    frames.expect(span(at) for at in done)
    for n, at in enumerate(done):
        assert frames.read_at(at.offset, SIZE) == content(n)
    assert len(reader.reads) <= -(-len(table.starts) // (KEPT // 2)) + 1
    assert set(fetched(reader, table).values()) == {1}
    far = BytesReader(blob)
    frames = PACK.open(far, index=index)
    frames.expect((span(done[0]), span(done[600])))
    frames.read_at(done[0].offset, SIZE)
    assert sum(fetched(far, table).values()) == 1


def test_what_is_not_expected_any_more_is_not_fetched(pack: Pack) -> None:
    blob, index, done, table = pack
    reader = BytesReader(blob)
    frames = PACK.open(reader, index=index)
    frames.expect(span(at) for at in done)
    frames.expect_nothing()
    frames.read_at(done[0].offset, SIZE)
    assert sum(fetched(reader, table).values()) == 1


def test_members_that_are_read_in_order_are_read_ahead_and_never_more_than_was_read(pack: Pack) -> None:
    """As by programs that open one object after the other, without a word of the next."""
    blob, index, done, table = pack
    reader = BytesReader(blob)
    frames = PACK.open(reader, index=index)
    for n, at in enumerate(done):
        assert frames.read_at(at.offset, SIZE) == content(n)
    assert len(reader.reads) <= 8 < len(table.starts) / 6
    assert set(fetched(reader, table).values()) == {1}
    chance = random.Random(7)
    for share in (10, 100, 700):
        reader = BytesReader(blob)
        frames = PACK.open(reader, index=index)
        wanted = chance.sample(range(len(done)), share)
        for n in wanted:
            assert frames.read_at(done[n].offset, SIZE) == content(n)
        touched = {table.number(done[n].offset) for n in wanted}
        assert set(fetched(reader, table).values()) == {1}
        assert fetched(reader, table).total() <= 2 * len(touched)


@tries(60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 6_400_000), st.integers(0, 700_000)), max_size=12),
    st.lists(st.integers(0, len(MEMBERS) - 1), max_size=40),
)
def test_whatever_is_expected_what_is_read_is_right(
    pack: Pack, ranges: list[tuple[int, int]], members: list[int]
) -> None:
    blob, index, done, table = pack
    frames = PACK.open(BytesReader(blob), index=index)
    frames.expect((low, min(low + length, table.size)) for low, length in ranges if low < table.size)
    for n in members:
        assert frames.read_at(done[n].offset, SIZE) == content(n)


def test_threads_wait_for_a_frame_that_comes_and_none_is_fetched_twice(pack: Pack) -> None:
    blob, index, done, table = pack
    reader = BytesReader(blob)
    frames = PACK.open(reader, index=index)
    wanted = [n for n in range(len(done)) if n < 400]  # fewer frames than are kept
    frames.expect(span(done[n]) for n in wanted)
    with ThreadPoolExecutor(12) as pool:
        read = list(pool.map(lambda n: frames.read_at(done[n].offset, SIZE) == content(n), wanted))
    assert all(read)
    assert set(fetched(reader, table).values()) == {1}


class Failing(BytesReader):
    """Its first read fails, once everybody waits for it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reached, self.go = threading.Event(), threading.Event()

    def read_at(self, offset: int, length: int) -> bytes:
        if not self.reached.is_set():
            self.reached.set()
            self.go.wait(60)
            raise StoreUnavailable("no answer", key="blob")
        return super().read_at(offset, length)


def test_who_waited_for_a_fetch_that_failed_fetches_by_himself(pack: Pack) -> None:
    blob, index, done, _ = pack
    reader = Failing(blob)
    frames = PACK.open(reader, index=index)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(frames.read_at, done[0].offset, SIZE)
        assert reader.reached.wait(60)
        second = pool.submit(frames.read_at, done[1].offset, SIZE)
        reader.go.set()
        with pytest.raises(StoreUnavailable):
            first.result()
        assert second.result() == content(1)
    assert frames.read_at(done[0].offset, SIZE) == content(0)


def test_damage_in_what_came_along_is_not_told_to_who_did_not_need_it(pack: Pack) -> None:
    blob, index, done, table = pack
    hurt = table.number(done[60].offset)
    at = (table.starts[hurt] + table.starts[hurt + 1]) // 2
    for wrong in (blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :], blob[:at]):
        reader = BytesReader(wrong)
        reader._stat = reader.stat._replace(size=len(blob))  # cut short since it was opened
        frames = PACK.open(reader, index=index)
        frames.expect(span(one) for one in done)
        assert frames.read_at(done[0].offset, SIZE) == content(0)
        with pytest.raises(VerificationFailed):
            frames.read_at(done[60].offset, SIZE)
        assert frames.read_at(done[1].offset, SIZE) == content(1)
