"""Packs: what went in comes out, each member by its slice, and nothing of what dropped out."""

from __future__ import annotations

import io
import itertools
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import zstandard
from hypothesis import HealthCheck, given

from storaged.codecs.pack import HELD, PACK, Member, Packer, why_not
from storaged.codecs.pack.ending import TABLE_BYTES
from storaged.codecs.pack.header import END, TORN, torn
from storaged.codecs.pack.member import METADATA, name_bytes
from storaged.codecs.pack.packer import FRAME, SIZE
from storaged.codecs.registry import CODECS, FORMS, codec, form
from storaged.digest import digest_of
from storaged.errors import NotTaken, UsageError, VerificationFailed
from storaged.testing.contents import MIB, ORIGIN, Breaking, BytesContent, BytesReader, Runs, content_of, encoded
from tests.codecs.pack_files import FILE, OBJECT, US, Given, member, packed, several, some
from tests.laws import tries

_law = tries(60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def untarred(blob: bytes) -> bytes:
    """The tar, as a streaming decoder that knows nothing of us gives it."""
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(blob), read_across_frames=True) as stream:
        return stream.read()


def frames_of(blob: bytes) -> list[int]:
    """Where in the tar its frames begin, and its end, by the frames themselves."""
    begins, at = [0], 0
    while blob[at : at + 4] == b"\x28\xb5\x2f\xfd":
        whole = zstandard.ZstdDecompressor().decompressobj()
        data = whole.decompress(blob[at:])
        at = len(blob) - len(whole.unused_data)
        begins.append(begins[-1] + len(data))
    return begins


@_law
@given(members=several)
def test_every_member_is_its_slice_and_is_listed_as_it_was(members: list[Given]) -> None:
    """With the index and without."""
    made, blob, done = packed(members)
    for index in (b"", made.index):
        opened = PACK.open(BytesReader(blob), index=index)
        assert opened.size == made.size
        for (told, data), at in zip(members, done, strict=True):
            assert (at.length, at.digest, at.short, at.kept) == (told.size, digest_of([data]), False, True)
            assert opened.read_at(at.offset, at.length) == data
    listed = list(PACK.contents(BytesReader(blob)))
    assert [one.member for one in listed] == [
        m._replace(digest=at.digest) for (m, _), at in zip(members, done, strict=True)
    ]
    assert [one.offset for one in listed] == [at.offset for at in done]


@_law
@given(members=several)
def test_pythons_tarfile_reads_the_same(members: list[Given]) -> None:
    """Names, sizes, modes, owners, times to the microsecond (it has them as floats), and what stands in pax records."""
    _, blob, done = packed(members)
    with tarfile.open(fileobj=io.BytesIO(untarred(blob)), encoding="utf-8", errors="surrogateescape") as tar:
        found = tar.getmembers()
        assert [name_bytes(one.name) for one in found] == [name_bytes(m.name) for m, _ in members]
        for one, (told, data), at in zip(found, members, done, strict=True):
            inside = tar.extractfile(one)
            assert inside is not None
            assert inside.read() == data
            assert one.offset_data == at.offset
            assert one.mtime == pytest.approx(told.mtime_us / 1e6, abs=1e-4, rel=1e-9)
            assert one.pax_headers["SCHILY.xattr.user.storaged.digest"] == at.digest
            assert one.pax_headers["SCHILY.xattr.user.storaged.generation"] == str(told.generation)
            if told.metadata == FILE:
                assert (one.mode, one.uid, one.gid) == (0o640, 1000, 1001)
            if told.metadata == OBJECT:
                assert (one.mode, one.uid, one.gid) == (0o644, 0, 0)


def test_sizes_and_digests_are_those_of_the_tar_and_of_what_is_stored() -> None:
    made, blob, _ = packed(some(300))
    tar = untarred(blob)
    assert (made.size, made.digest) == (len(tar), digest_of([tar]))
    assert (made.stored_size, made.stored_digest) == (len(blob), digest_of([blob]))
    assert made.origin == replace(ORIGIN, size=made.size, digest=made.digest)
    assert PACK.describe(BytesReader(blob)) == made.origin
    assert blob[:4] == b"\x28\xb5\x2f\xfd"  # nothing but frames first


def test_frames_end_where_members_do_and_a_large_one_has_its_own() -> None:
    """So that a member costs one frame, and a damaged frame only its own members."""
    large = member("large", content_of(3 * FRAME + 5))
    members = [*some(400), large, *some(3)]
    _, blob, done = packed([(m._replace(name=f"{number}"), data) for number, (m, data) in enumerate(members)])
    begins = frames_of(blob)
    ends = [at.offset + at.length + -at.length % 512 for at in done]
    assert set(begins[1:-1]) <= {*ends, *(ends[399] + n * FRAME for n in (1, 2, 3))}
    assert {ends[399], ends[400]} <= set(begins)
    assert max(b - a for a, b in itertools.pairwise(begins)) == FRAME


def test_a_member_is_one_read_of_one_frame_and_its_neighbour_none() -> None:
    made, blob, done = packed(some(1000))
    reader = BytesReader(blob)
    opened = PACK.open(reader, index=made.index)
    assert not reader.reads
    opened.read_at(done[500].offset, done[500].length)
    opened.read_at(done[501].offset, done[501].length)
    [(_, length)] = reader.reads
    assert length < PACK.block
    reader.reads.clear()
    opened.read_at(0, made.size)
    assert len(reader.reads) <= 2


def test_what_drops_out_leaves_no_byte_where_it_is_small() -> None:
    """Short, of another digest than was told, changed meanwhile, or its store is away: the pack is as if it had never
    been named."""
    one, other, last = some(3)
    blob = bytearray()
    with Packer(blob.extend, level=3, origin=ORIGIN) as packer:
        asked: list[str] = []
        packer.add(one[0], BytesContent(one[1]), still=lambda digest: asked.append(digest) is None)
        short = packer.add(other[0], BytesContent(other[1][:-1], size=len(other[1])))
        wrong = packer.add(other[0]._replace(digest="0" * 32), BytesContent(other[1]))
        changed = packer.put(*other, still=lambda digest: False)
        with pytest.raises(ConnectionResetError):
            packer.add(other[0], Breaking(other[1], 10))
        packer.add(last[0]._replace(digest=digest_of([last[1]])), BytesContent(last[1]))
        made = packer.finish()
    assert packer.members == 2
    assert asked == [digest_of([one[1]])]
    assert [(p.offset, p.length, p.short, p.kept) for p in (short, wrong, changed)] == [
        (0, 0, True, False),
        (0, 0, False, False),
        (0, 0, False, False),
    ]
    assert (made, bytes(blob)) == packed([one, last])[:2]


@pytest.mark.parametrize("why", ["short", "digest", "still", "source"])
def test_what_drops_out_is_not_listed_where_it_is_large_and_those_behind_it_are_right(why: str) -> None:
    """Its bytes stay, filled up with zeros: the tar is whole. Whoever unpacks finds a link that leads nowhere."""
    data = content_of(HELD + 5)
    large = Member("large", len(data), US, 1, "0" * 32 if why == "digest" else "")
    before, after = some(2)
    blob = bytearray()
    with Packer(blob.extend, level=3, origin=ORIGIN) as packer:
        packer.add(before[0], BytesContent(before[1]))
        if why == "source":
            with pytest.raises(ConnectionResetError):
                packer.add(large, Breaking(data, HELD))
        else:
            source = BytesContent(data[: HELD - 7] if why == "short" else data, size=len(data))
            out = packer.add(large, source, still=lambda digest: why != "still")
            assert (out.short, out.kept) == (why == "short", False)
            assert out.length == len(data)
        behind = packer.add(after[0], BytesContent(after[1]))
        made = packer.finish()
    assert packer.members == 2
    assert [one.member.name for one in PACK.contents(BytesReader(bytes(blob)))] == [before[0].name, after[0].name]
    opened = PACK.open(BytesReader(bytes(blob)), index=made.index)
    assert opened.read_at(behind.offset, behind.length) == after[1]
    with tarfile.open(fileobj=io.BytesIO(untarred(bytes(blob)))) as tar:
        found = tar.getmembers()
    assert [one.name for one in found] == [before[0].name, "large", "large", after[0].name]
    links = [(one.name, one.linkname, one.mtime) for one in found if one.issym()]
    assert links == [("large", TORN.decode(), US // 1_000_000)]


@pytest.mark.parametrize("name", ["a" * 100, "b/" * 60 + "c", "d/" * 60 + "\udcff"])
def test_the_link_of_what_is_torn_has_its_name_however_long(name: str) -> None:
    entry = torn(name_bytes(name), -1) + END
    assert len(entry) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(entry), encoding="utf-8", errors="surrogateescape") as tar:
        [one] = tar.getmembers()
    assert (one.name, one.linkname, one.issym(), one.mtime) == (name, TORN.decode(), True, 0)


def test_members_of_all_sizes_around_those_that_matter() -> None:
    """Blocks of a tar, frames, and what is held."""
    sizes = [0, 1, 511, 512, 513, FRAME - 2000, FRAME - 1536, FRAME - 1535, FRAME, FRAME + 1, HELD - 1, HELD, HELD + 1]
    members = [member(str(size), content_of(size, seed=size)) for size in sizes]
    made, blob, done = packed(members)
    opened = PACK.open(BytesReader(blob), index=made.index)
    for (_, data), at in zip(members, done, strict=True):
        assert opened.read_at(at.offset, at.length) == data
    with tarfile.open(fileobj=io.BytesIO(untarred(blob))) as tar:
        assert [one.size for one in tar.getmembers()] == sizes


def test_a_pack_of_nothing_is_a_tar_of_nothing() -> None:
    made, blob, _ = packed([])
    assert untarred(blob) == bytes(1024)
    assert list(PACK.contents(BytesReader(blob))) == []
    assert PACK.describe(BytesReader(blob)) == made.origin


def test_an_executor_changes_nothing_but_the_time() -> None:
    members = [*some(900), member("large", content_of(HELD + 9))]
    with ThreadPoolExecutor(3) as executor:
        parallel = packed(members, executor=executor)
    assert parallel == packed(members)


def test_the_sinks_error_comes_through_and_nothing_waits() -> None:
    def broken(data: bytes) -> None:
        raise BrokenPipeError("sink")

    def run(executor: ThreadPoolExecutor | None) -> None:
        with Packer(broken, level=1, origin=ORIGIN, executor=executor) as packer:
            for one, data in some(3000):
                packer.put(one, data)

    with ThreadPoolExecutor(2) as executor:
        for each in (None, executor):
            with pytest.raises(BrokenPipeError):
                run(each)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/../b", "with `.` or `..`"),
        ("..", "with `.` or `..`"),
        ("./a", "with `.` or `..`"),
        ("a/.", "with `.` or `..`"),
        ("/a", "an empty part"),
        ("a//b", "an empty part"),
        ("a/", "an empty part"),
        ("", "an empty part"),
        ("a\0b", "a NUL"),
        ("a" * 256, "a part of 256 bytes"),
        ("\u00e4" * 128, "a part of 256 bytes"),
        ("/".join(["a" * 200] * 21), "no path on a filesystem"),
        ("a\ud800", "no file can have"),
    ],
)
def test_names_that_a_tar_does_not_give_back_are_refused_with_the_reason(name: str, why: str) -> None:
    """A packer takes none either."""
    assert why in why_not(Member(name, 1))
    with Packer(lambda data: None, level=3, origin=ORIGIN) as packer, pytest.raises(UsageError, match="has a name"):
        packer.put(Member(name, 1), b"x")


@pytest.mark.parametrize(
    "name",
    ["a", "...", "a b", "a\nb", "-rf", "a\\b", "/".join(["a" * 99] * 3), "a" * 255, "\udcff\udcfe", "A", "\u00e4"],
)
def test_other_names_are_taken(name: str) -> None:
    assert why_not(Member(name, 1)) == ""


def test_too_much_beside_the_bytes_is_refused() -> None:
    """A header is held whole, by whoever reads it. Up to there it comes back, of characters that take much room too."""
    assert "beside its bytes" in why_not(Member("a", 1, metadata={"meta:x": "v" * METADATA}))
    much = {"meta:x": "\U0001f6f7" * (METADATA - 6)}
    members = [
        member("small", b"x"),
        member("a", b"content", metadata=much),
        member("b", content_of(FRAME), metadata=much),
    ]
    made, blob, done = packed(members)
    assert [one.member.metadata for one in PACK.contents(BytesReader(blob))] == [m.metadata for m, _ in members]
    opened = PACK.open(BytesReader(blob), index=made.index)
    assert [opened.read_at(at.offset, at.length) for at in done] == [data for _, data in members]


def test_what_would_have_too_many_frames_is_refused_before_it_is_read() -> None:
    source = Runs(SIZE + 1)
    with Packer(lambda data: None, level=3, origin=ORIGIN) as packer:
        with pytest.raises(UsageError, match="larger than 100 GiB"):
            packer.add(Member("a", source.size), source)
        assert packer.add(Member("b", 5), source).kept
    assert source.read == 5
    assert SIZE // (FRAME // 2) * 8 < TABLE_BYTES


def test_a_held_member_may_be_of_any_size_and_never_more_than_it_says() -> None:
    data = content_of(HELD + 5)
    with Packer(lambda data: None, level=3, origin=ORIGIN) as packer:
        assert packer.put(Member("a", len(data)), data, still=lambda digest: False) == (
            0,
            0,
            digest_of([data]),
            False,
            False,
        )
        assert packer.size == packer.stored == 0
        with pytest.raises(ValueError, match="of a member of"):
            packer.put(Member("a", 1), data)
        packer.put(Member("a", len(data)), data)
        assert packer.size > len(data) > packer.stored > 0


@pytest.mark.parametrize("level", [0, 20, -1])
def test_a_level_that_zstd_does_not_have_is_refused(level: int) -> None:
    with pytest.raises(UsageError, match="has no level"):
        Packer(lambda data: None, level=level, origin=ORIGIN)


def test_a_pack_is_read_by_its_name_and_nothing_is_encoded_as_one() -> None:
    assert form("pack") is PACK
    assert form("zstd") is codec("zstd")
    assert set(FORMS) == {*CODECS, "pack"}
    assert PACK.suffix("events/2026-11-29") == ".tar.zst"
    with pytest.raises(UsageError, match="no codec 'pack'"):
        codec("pack")
    with pytest.raises(UsageError, match="no blob has the form 'tarball'"):
        form("tarball")


def test_no_codec_takes_a_pack_for_its_own_nor_a_pack_their_blobs() -> None:
    """A search for blobs asks every form in turn."""
    _, blob, _ = packed(some(20))
    for each in CODECS.values():
        assert each.describe(BytesReader(blob)) is None
        if each.name != "identity":
            with pytest.raises(VerificationFailed):
                each.open(BytesReader(blob))
        for size in (0, 3_000, 2 * MIB):
            try:
                _, other = encoded(each, content_of(size))
            except NotTaken:
                continue
            assert PACK.describe(BytesReader(other)) is None
            with pytest.raises(VerificationFailed):
                PACK.open(BytesReader(other))
