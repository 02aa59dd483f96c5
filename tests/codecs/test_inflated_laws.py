"""Gzip files as what is inside: laws of any file, damage, and bounds."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.codecs.inflated import codec, deflaters, ending, members, regenerate, run
from storaged.codecs.inflated import told as told_of
from storaged.codecs.inflated.codec import Inflated
from storaged.errors import NotTaken, VerificationFailed
from storaged.testing.contents import MIB, BytesContent, BytesReader, content_of, encoded
from tests.codecs.gzip_files import GOOD, HEADER, HEADERS, ROWS, back, gzip_of, inside_of
from tests.laws import tries

CODEC = Inflated()
DAMAGED = {
    "no gzip": (ROWS, "no gzip file"),
    "empty": (b"", "no gzip file"),
    "its magic alone": (HEADER[:3], "cut short"),
    "a header without end": (b"\x1f\x8b\x08\x08" + HEADER[4:] + b"name", "cut short"),
    "a long name": (b"\x1f\x8b\x08\x08" + HEADER[4:] + b"n" * 200_000 + b"\0" + GOOD[10:], "a name in a header"),
    "an extra field without end": (b"\x1f\x8b\x08\x04" + HEADER[4:] + b"\xff\xffextra", "cut short"),
    "unknown flags": (b"\x1f\x8b\x08\x20" + GOOD[4:], "unknown kind"),
    "cut in its deflate bytes": (GOOD[:-5_000], "cut short"),
    "cut in its trailer": (GOOD[:-1], "cut short"),
    "another checksum": (GOOD[:-8] + bytes([GOOD[-8] ^ 1]) + GOOD[-7:], "checksum"),
    "another size": (GOOD[:-1] + b"\1", "checksum"),
    "a reserved block": (HEADER + b"\xff" * 100, "damaged"),
    "a second member that is damaged": (GOOD + GOOD[:-1], "cut short"),
    "much behind it": (GOOD + bytes(2 * MIB), "lie behind"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_not_taken_and_why(name: str) -> None:
    content, why = DAMAGED[name]
    with pytest.raises(NotTaken, match=why):
        encoded(CODEC, content)
    if len(content) <= run.HEAD:  # a sample sees all of it
        assert not CODEC.sample(BytesContent(content), level=None).taken


def test_what_inflates_to_very_much_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound, which a test need not wait for; and as long as it lasts, in no more memory."""
    monkeypatch.setattr(run, "INSIDE", 40 * MIB)
    back(gzip_of(bytes(40 * MIB), 1))
    with pytest.raises(NotTaken, match="more than 41,943,040 bytes are inside"):
        back(gzip_of(bytes(40 * MIB + 1), 1))


@pytest.mark.parametrize("bound", ["MEMBERS", "PAYLOAD_BYTES"])
def test_what_has_very_many_members_is_not_taken(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run if bound == "MEMBERS" else told_of, bound, 50)
    with pytest.raises(NotTaken, match=r"too many|more than 50 members"):
        back(gzip_of(b"x") * 60)


def test_deflate_bytes_without_content_do_not_pile_up() -> None:
    """Empty blocks, of which no encoder writes so many."""
    four = sum(2 << 10 * n for n in range(4)).to_bytes(5, "little")
    empty = zlib.compressobj(wbits=-15).flush()
    source = BytesContent(HEADER + four * (2 * MIB) + empty + bytes(8))
    with pytest.raises(NotTaken, match=deflaters.NO_ENCODER):
        encoded(CODEC, source)
    assert source.reads == [(0, 4 * MIB)]


_members = st.tuples(
    st.one_of(
        st.binary(max_size=3_000),
        st.builds(lambda size, seed: content_of(size, seed=seed), st.integers(0, 60_000), st.integers(0, 9)),
        st.builds(lambda unit, count: unit * count, st.binary(min_size=1, max_size=40), st.integers(0, 9_000)),
    ),
    st.sampled_from([recipe.split(":")[1:] for recipe in deflaters.RECIPES]),
    st.sampled_from([HEADER, *HEADERS.values()]),
    st.lists(st.floats(0, 1), max_size=3),
    st.one_of(st.just(b""), st.integers(0, 600).map(bytes)),
)


def _member(data: bytes, recipe: list[str], header: bytes, flushes: list[float], gap: bytes) -> bytes:
    deflater = zlib.compressobj(int(recipe[0]), zlib.DEFLATED, -15, int(recipe[1]))
    out, at = header, 0
    for flush in sorted({int(part * len(data)) for part in flushes}):
        out += deflater.compress(data[at:flush]) + deflater.flush(zlib.Z_SYNC_FLUSH)
        at = flush
    out += deflater.compress(data[at:]) + deflater.flush()
    return out + struct.pack("<II", zlib.crc32(data), len(data)) + gap


@tries(60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(made=st.lists(_members, min_size=1, max_size=4), behind=st.binary(max_size=30), at=st.data())
def test_any_members_of_known_encoders_come_back(
    made: list[tuple[bytes, list[str], bytes, list[float], bytes]], behind: bytes, at: st.DataObject
) -> None:
    """Any contents, levels, headers, flushes and gaps: the identical file, whole and in ranges."""
    behind = b"" if behind.startswith(members.MAGIC) else behind
    content = b"".join(_member(*each) for each in made) + behind
    try:
        blob = back(content)
    except NotTaken as error:
        assert error.message == codec.NOT_SMALLER  # noqa: PT017 (one of two fair outcomes)
        return
    assert inside_of(blob) == b"".join(data for data, *_ in made)
    opened = CODEC.open(BytesReader(blob))
    for _ in range(3):
        begin, size = at.draw(st.integers(0, len(content))), at.draw(st.integers(0, len(content)))
        assert opened.read_at(begin, size) == content[begin : begin + size]


@tries(40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(made=st.lists(_members, min_size=1, max_size=3), at=st.data())
def test_any_range_is_made_from_whatever_flush_is_before_it(
    made: list[tuple[bytes, list[str], bytes, list[float], bytes]], at: st.DataObject
) -> None:
    """With bounds that a small file reaches."""
    content = b"".join(_member(*each) for each in made)
    with pytest.MonkeyPatch.context() as patch:
        for module in (run, regenerate):
            patch.setattr(module, "CHECKED", 700)
        patch.setattr(run, "APART", 300)
        try:
            _, blob = encoded(CODEC, content)
        except NotTaken as error:
            assert error.message == codec.NOT_SMALLER  # noqa: PT017 (one of two fair outcomes)
            return
        for _ in range(4):
            begin = at.draw(st.integers(0, len(content)))
            opened = CODEC.open(BytesReader(blob))
            assert opened.read_at(begin, 900) == content[begin : begin + 900]
            assert opened.read_at(begin + 5_000, 900) == content[begin + 5_000 :][:900]


@tries(150, suppress_health_check=[HealthCheck.too_slow])
@given(at=st.data())
def test_any_damaged_gzip_comes_back_or_is_not_taken(at: st.DataObject) -> None:
    """Bytes changed, cut out and doubled: never another file, and never another error."""
    content = bytearray(gzip_of(ROWS[:30_000], header=HEADERS["all"]) + bytes(9) + gzip_of(ROWS[:3_000]))
    for _ in range(at.draw(st.integers(1, 3))):
        begin = at.draw(st.one_of(st.integers(0, 40), st.integers(0, len(content) - 1)))
        end = at.draw(st.integers(begin, min(begin + 20, len(content))))
        content[begin:end] = at.draw(st.binary(max_size=20))
    try:
        back(bytes(content))
    except NotTaken as error:
        assert error.message  # noqa: PT017 (one of two fair outcomes)
    CODEC.sample(BytesContent(bytes(content)), level=None)


def test_columns_that_do_not_agree_are_refused() -> None:
    """What tells how it comes back is taken at its word nowhere."""
    _, blob = encoded(CODEC, GOOD)
    _, told = ending.read(BytesReader(blob))
    inside = BytesContent(ROWS[:200_000])
    for name, numbers in told.columns.items():
        one = np.ones(1, np.uint64)
        for column in (numbers[:-1], np.append(numbers, one), numbers + one):
            if np.array_equal(column, numbers):
                continue
            other = told_of.Told(told.size, told.recipes, {**told.columns, name: column}, told.parts)
            with pytest.raises(VerificationFailed):
                regenerate.Regenerated(inside, other, "blob").read_at(0, len(GOOD))
