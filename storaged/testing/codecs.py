"""What every codec must hold to. Inherit from a contract, set `codec`, and pytest runs it.

class TestMine(CodecContract):
    codec = Mine()
"""

from __future__ import annotations

import functools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storaged.codecs.base import Codec
from storaged.codecs.registry import CODECS, compresses
from storaged.digest import digest_of
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import CodecSpec, Origin
from storaged.testing.contents import (
    MIB,
    ORIGIN,
    Breaking,
    BytesContent,
    BytesReader,
    Runs,
    content_of,
    encoded,
    streamed,
)

# Hypothesis warns where one test function runs in two subclasses; that is what a contract is for.
_contract = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow, HealthCheck.data_too_large],
)


_sizes = st.one_of(
    st.integers(0, 3),
    st.integers(0, 20_000),
    st.builds(lambda frames, more: frames * MIB + more, st.integers(1, 3), st.integers(-1, 1)),
)
_contents = st.one_of(
    st.binary(max_size=2_000),
    st.builds(lambda size, seed, c: content_of(size, seed=seed, compressible=c), _sizes, st.integers(), st.booleans()),
    st.builds(lambda unit, size: (unit * (size // len(unit) + 1))[:size], st.binary(min_size=1, max_size=9), _sizes),
)


class CodecContract:
    """A codec gives back what went in, whole and in ranges, and tells sizes and digests rightly."""

    codec: Codec
    endless = ("storaged.testing.contents", "Runs")  # content of any size that it takes, made by that size
    much = 1024 * MIB  # of it, to which memory must not grow
    shared = 12 * MIB  # that many threads read at the same time
    memory = 150 * MIB  # that encoding may take beyond what the process had, whatever the size of the content
    several = 40 * MIB + 5  # bytes in more blocks than an executor works at
    sampled = 1024 * 1024  # bytes that a sample reads at most, whatever the size of the content

    def taken(self, data: bytes) -> bytes:
        """Content that the codec takes and that holds this data, whatever it is: the data itself, or a file of it."""
        return data

    def shrinking(self, size: int) -> bytes:
        """Content of about this size that the codec, if it compresses, makes smaller."""
        return self.taken(content_of(size))

    # MUST 3, 8
    @_contract
    @given(content=_contents, at=st.data())
    def test_what_went_in_comes_out_in_any_range_and_is_told_rightly(self, content: bytes, at: st.DataObject) -> None:
        """Whatever the content, encoded once for all of it: whole, with the index and without; ranges in any order,
        empty ones, and ones that reach over the end; sizes and digests of the content that went in and of the bytes
        handed to the sink, no more of them than the codec says; origin completed, nothing else changed."""
        content = self.taken(content)
        report, blob = encoded(self.codec, content)
        for index in {b"", report.index}:
            opened = self.codec.open(BytesReader(blob), index=index)
            assert opened.size == len(content)
            assert opened.read_at(0, len(content)) == content
        opened = self.codec.open(BytesReader(blob))
        for _ in range(4):
            offset = at.draw(st.integers(0, len(content) + 2), label="offset")
            length = at.draw(st.integers(0, len(content) + 2), label="length")
            assert opened.read_at(offset, length) == content[offset : offset + length]
        assert (report.size, report.digest) == (len(content), digest_of([content]))
        assert (report.stored_size, report.stored_digest) == (len(blob), digest_of([blob]))
        assert report.stored_size <= self.codec.at_most(len(content))
        assert report.origin == Origin(
            ORIGIN.catalog,
            ORIGIN.attempt,
            ORIGIN.dataset,
            ORIGIN.object,
            ORIGIN.generation,
            ORIGIN.source,
            len(content),
            ORIGIN.mtime_us,
            report.digest,
        )
        self._describes(blob, report.origin)

    def _describes(self, blob: bytes, origin: Origin) -> None:
        """Only some blobs say what they are."""

    @pytest.mark.parametrize(("size", "most"), [(3_000, 1), (3 * MIB + 5, 1_000_003), (9 * MIB, 3 * MIB - 1)])
    def test_reads_that_give_less_than_was_asked_for_never_make_another_content(self, size: int, most: int) -> None:
        """No store should; where one does, the blob is the same one, or there is none."""
        content = self.shrinking(size)
        level = self.codec.sample(BytesContent(content), level=None).level
        try:
            made = encoded(self.codec, BytesContent(content, most=most), level=level)
        except (VerificationFailed, NotTaken):
            return
        assert made == encoded(self.codec, content, level=level)

    def test_a_source_that_ends_before_its_size_is_noticed(self) -> None:
        """By what is returned, where not at once; nothing is made up for what is not there."""
        content = self.shrinking(2 * MIB)
        for missing in (1, MIB):
            try:
                report, blob = encoded(self.codec, BytesContent(content[:-missing], size=len(content)))
            except (VerificationFailed, NotTaken):
                continue
            assert report.size == len(content) - missing
            assert self.codec.open(BytesReader(blob)).read_at(0, len(content)) == content[:-missing]

    def test_a_source_is_never_asked_for_what_it_does_not_have(self) -> None:
        """Every read begins and ends within its size."""
        for size in (1, 3_000, 5 * MIB + 1):
            source = BytesContent(self.shrinking(size))
            self.codec.sample(source, level=None)
            encoded(self.codec, source)
            assert source.reads
            assert all(at >= 0 and length > 0 and at + length <= source.size for at, length in source.reads)

    @_contract
    @given(content=_contents)
    def test_a_sample_of_anything_is_an_answer(self, content: bytes) -> None:
        """With a level that encodes, the same each time, and words for what is not taken."""
        found = self.codec.sample(BytesContent(content), level=None)
        assert found == self.codec.sample(BytesContent(content), level=None)
        assert found.ratio > 0
        assert found.level in self.codec.levels if self.codec.levels else found.level is None
        assert found.taken or found.why_not
        if not found.reason:
            encoded(self.codec, content, level=found.level)

    def test_a_sample_keeps_the_level_that_was_asked_for(self) -> None:
        """The policy's word stands."""
        content = self.shrinking(20_000)
        for level in self.codec.levels:
            assert self.codec.sample(BytesContent(content), level=level).level == level

    # MUST 3
    def test_a_sample_reads_little(self) -> None:
        """Whatever the size: of content that it takes, and of a petabyte of nothing."""
        for size in (0, 1, 5_000, MIB, 30 * MIB):
            source = BytesContent(self.shrinking(size))
            self.codec.sample(source, level=None)
            assert sum(length for _, length in source.reads) <= self.sampled
        endless = Runs(10**15)
        self.codec.sample(endless, level=None)
        assert endless.read <= self.sampled

    # MUST 3
    @pytest.mark.parametrize("size", [50_000, 5 * MIB])
    def test_a_samples_ratio_is_near_the_outcome(self, size: int) -> None:
        """Within a fifth, what a blob holds besides included. What is not there to compress claims nothing."""
        content = self.shrinking(size)
        found = self.codec.sample(BytesContent(content), level=None)
        assert found.taken == compresses(CodecSpec(self.codec.name))
        if compresses(CodecSpec(self.codec.name)):
            report, _ = encoded(self.codec, content, level=found.level)
            assert found.ratio == pytest.approx(report.stored_size / report.size, rel=0.2)
        else:
            assert found.ratio == 1.0

    def test_noise_is_not_taken(self) -> None:
        """What does not shrink stays as it is."""
        noise = BytesContent(self.taken(content_of(2 * MIB, compressible=False)))
        assert not self.codec.sample(noise, level=None).taken

    def test_it_says_rightly_whether_it_compresses(self) -> None:
        """Zeros become fewer or they do not."""
        report, _ = encoded(self.codec, self.taken(bytes(MIB)))
        assert (report.stored_size < report.size // 2) == compresses(CodecSpec(self.codec.name))

    # MUST 3
    @pytest.mark.parametrize("size", [0, 1, 4096, MIB - 1, MIB, MIB + 1, 9 * MIB])
    def test_a_blob_of_what_does_not_shrink_takes_no_more_than_it_says(self, size: int) -> None:
        """Whatever the name of the object, and at the cheapest level and the dearest."""
        noise = self.taken(content_of(size, compressible=False))
        long = Origin("c" * 32, "a" * 32, "events", "\udcff" * 4096, 1, "identity")
        for level in {None, *self.codec.levels[:1], *self.codec.levels[-1:]}:
            report, _ = encoded(self.codec, noise, level=level, origin=long)
            assert report.stored_size <= self.codec.at_most(len(noise))

    def test_more_content_never_takes_less_at_most(self) -> None:
        """At least its own size, and no more than a tenth above it where there is much of it."""
        sizes = [0, 1, 1000, MIB, 10 * MIB, 10**12]
        bounds = [self.codec.at_most(size) for size in sizes]
        assert bounds == sorted(bounds)
        assert all(size <= bound for size, bound in zip(sizes, bounds, strict=True))
        assert bounds[-1] <= 1.1 * sizes[-1]

    def test_a_block_is_kept_and_nothing_without_blocks(self) -> None:
        """Reading the same range again reads nothing of the store where content is decoded by blocks; where it is as it
        is, every range is exactly those bytes."""
        content = self.shrinking(3 * MIB)
        report, blob = encoded(self.codec, content)
        reader = BytesReader(blob)
        opened = self.codec.open(reader, index=report.index)
        assert opened.read_at(7, 100) == content[7:107]
        before = len(reader.reads)
        assert opened.read_at(7, 100) == content[7:107]
        if self.codec.block:
            assert len(reader.reads) == before
        else:
            assert reader.reads == [(7, 100)] * 2

    def test_an_executor_changes_nothing_but_the_time(self) -> None:
        """Parallel encoding writes the same bytes in the same order."""
        content = self.taken(content_of(self.several, seed=1))
        with ThreadPoolExecutor(3) as executor:
            parallel = encoded(self.codec, content, executor=executor)
        assert parallel == encoded(self.codec, content)

    def test_the_callers_errors_come_through(self) -> None:
        """What the source or the sink raises ends the encoding and is not swallowed."""

        def broken_sink(data: bytes) -> None:
            raise BrokenPipeError("sink")

        spec, content = CodecSpec(self.codec.name), BytesContent(self.taken(b"content"))
        with ThreadPoolExecutor(2) as executor:
            for until in (0, 6 * MIB):
                with pytest.raises(ConnectionResetError, match="source"):
                    encoded(self.codec, Breaking(self.taken(content_of(9 * MIB)), until), executor=executor)
            with pytest.raises(BrokenPipeError, match="sink"):
                self.codec.encode(content, broken_sink, spec=spec, origin=ORIGIN, executor=executor)

    def test_many_threads_read_one_opened_blob(self) -> None:
        """Each gets its own range, however they interleave."""
        content = self.taken(content_of(self.shared, seed=2))
        _, blob = encoded(self.codec, content)
        opened = self.codec.open(BytesReader(blob))

        def read(seed: int) -> bool:
            chance = random.Random(seed)  # noqa: S311 (which ranges are read is no secret)
            ranges = [(chance.randrange(len(content)), chance.randrange(self.shared // 6)) for _ in range(8)]
            return all(opened.read_at(at, n) == content[at : at + n] for at, n in ranges)

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(read, range(8)))

    # MUST 3
    def test_memory_does_not_grow_with_the_content(self) -> None:
        """So much streams through a fresh process in hardly more than it had."""
        size, grown = streamed(self.codec, self.endless, self.much)
        assert size >= 0.97 * self.much
        assert grown < self.memory


class CheckedCodecContract(CodecContract):
    """A codec whose blobs also say what they are and notice their own damage."""

    def _describes(self, blob: bytes, origin: Origin) -> None:
        """With what went in, and size and digest of the content."""
        assert self.codec.describe(BytesReader(blob)) == origin

    @_contract
    @given(name=st.text(st.characters(), max_size=200))  # includes lone surrogates: undecodable bytes of a file's name
    def test_any_name_is_described(self, name: str) -> None:
        """Names hold whatever users put there."""
        origin = Origin("c" * 32, "a" * 32, name, name, 1, name)
        report, blob = encoded(self.codec, self.taken(b"content"), origin=origin)
        described = self.codec.describe(BytesReader(blob))
        assert described == report.origin
        assert described.object == name

    def test_a_long_name_is_described(self) -> None:
        """A local path may have 4096 bytes, none of them decodable."""
        origin = Origin("c" * 32, "a" * 32, "events", "\udcff" * 4096, 1, "identity")
        report, blob = encoded(self.codec, self.taken(b"content"), origin=origin)
        assert self.codec.describe(BytesReader(blob)) == report.origin

    @_contract
    @given(foreign=st.binary(max_size=300))
    def test_a_foreign_blob_is_described_as_nothing(self, foreign: bytes) -> None:
        """What we did not write has no origin, and opening it is refused."""
        assert self.codec.describe(BytesReader(foreign)) is None
        with pytest.raises(VerificationFailed):
            self.codec.open(BytesReader(foreign))

    @pytest.mark.parametrize("size", [0, 3_000, 2 * MIB])
    def test_a_blob_of_another_codec_is_nobodys(self, size: int) -> None:
        """A search for blobs asks every codec in turn: none takes another's for its own, whole or damaged."""
        others = [each for each in CODECS.values() if each.name != self.codec.name]
        assert others
        content = self.shrinking(size)
        for other in others:
            try:
                _, blob = encoded(other, content)
            except NotTaken:  # it takes no such content
                continue
            assert self.codec.describe(BytesReader(blob)) is None
            with pytest.raises(VerificationFailed):
                self.codec.open(BytesReader(blob))

    # MUST 8
    @pytest.mark.parametrize("size", [0, 1, 300])
    def test_no_cut_blob_is_read(self, size: int) -> None:
        """Whatever is missing at the end, or added there, opening fails; describing never tells another story."""
        content = self.taken(content_of(size))
        report, blob = encoded(self.codec, content)
        for damaged in [*(blob[:end] for end in range(len(blob))), blob + b"\0", blob + blob]:
            for index in {b"", report.index}:
                with pytest.raises(VerificationFailed):
                    self.codec.open(BytesReader(damaged), index=index)
            self._described_rightly(damaged, report.origin)

    @pytest.mark.parametrize("size", [0, 1, 300])
    def test_no_changed_byte_changes_what_is_read(self, size: int) -> None:
        """Every byte of a small blob, changed in one bit and in all: the content, or VerificationFailed."""
        content = self.taken(content_of(size))
        report, blob = encoded(self.codec, content)
        noticed = 0
        for at in range(len(blob)):
            for bits in (0x01, 0x80, 0xFF):
                damaged = blob[:at] + bytes([blob[at] ^ bits]) + blob[at + 1 :]
                for index in {b"", report.index}:
                    noticed += self._read_rightly(damaged, content, index, [(0, len(content))])
                self._described_rightly(damaged, report.origin)
        assert noticed

    @functools.cached_property
    def _large(self) -> tuple[bytes, bytes]:
        """A content of several frames and its blob, made once for all examples."""
        content = self.taken(content_of(3 * MIB + 77, seed=3))
        return content, encoded(self.codec, content)[1]

    @settings(_contract, max_examples=60)
    @given(at=st.data())
    def test_damage_in_a_large_blob_never_shifts_a_range(self, at: st.DataObject) -> None:
        """Any byte of a blob of several frames and any ranges; the seek table and its surroundings most of all."""
        content, blob = self._large
        where = st.one_of(st.integers(0, len(blob) - 1), st.integers(len(blob) - 300, len(blob) - 1))
        damaged = bytearray(blob)
        for _ in range(at.draw(st.integers(1, 2), label="damages")):
            damaged[at.draw(where, label="where")] ^= at.draw(st.integers(1, 255), label="bits")
        spans = st.tuples(st.integers(0, len(content)), st.integers(0, 2 * MIB))
        ranges = at.draw(st.lists(spans, min_size=1, max_size=3), label="ranges")
        self._read_rightly(bytes(damaged), content, b"", ranges)

    def _read_rightly(self, blob: bytes, content: bytes, index: bytes, ranges: list[tuple[int, int]]) -> bool:
        """Whether damage was noticed; what is read without noticing must be the content."""
        try:
            opened = self.codec.open(BytesReader(blob), index=index)
        except VerificationFailed:
            return True
        noticed = False
        assert opened.size == len(content)
        for offset, length in ranges:
            try:
                assert opened.read_at(offset, length) == content[offset : offset + length]
            except VerificationFailed as error:
                assert "blob" in error.message, "the message names the blob"  # noqa: PT017 (one of two fair outcomes)
                noticed = True
        return noticed

    def _described_rightly(self, blob: bytes, origin: Origin) -> None:
        try:
            assert self.codec.describe(BytesReader(blob)) in (None, origin)
        except VerificationFailed:
            return
