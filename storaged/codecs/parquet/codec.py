"""The codec `parquet`: a Parquet file that every reader of Parquet reads, from which the identical object comes back.

Of a Parquet file the pages become zstd's; of delimited text the fields become columns, of
lines of JSON objects the values, and so they do where these are inside of a .gz; the rest is zstd's affair.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

import numpy as np

from storaged.codecs.base import Content, Encoded, InMemory, Sample, at_most, check_level, worth_it
from storaged.codecs.inflated.deflaters import Make, deflater, probed
from storaged.codecs.inflated.inside import inside
from storaged.codecs.inflated.regenerate import Regenerated as Deflated
from storaged.codecs.inflated.run import NOT_SMALLER, Beginning
from storaged.codecs.jsonl import form as jsonl
from storaged.codecs.parquet import block, encoders, pages, probes, proven, recompress, reencode, same, wrapped
from storaged.codecs.parquet.block import Block
from storaged.codecs.parquet.columns import readable
from storaged.codecs.parquet.described import Leaf
from storaged.codecs.parquet.footer import Of
from storaged.codecs.parquet.known import Known
from storaged.codecs.parquet.layout import Ahead, Layout, is_parquet
from storaged.codecs.parquet.pages import Codec, Headers
from storaged.codecs.parquet.regenerate import Regenerated
from storaged.codecs.parquet.thrift import Malformed
from storaged.codecs.parquet.values import Taken, gained, taken
from storaged.codecs.parquet.wrapped import Around
from storaged.codecs.sample import GZIP
from storaged.codecs.text import delimited
from storaged.codecs.text import form as text
from storaged.codecs.text.regenerate import Regenerated as RegeneratedText
from storaged.errors import NotTaken
from storaged.model import CodecSpec, Origin
from storaged.stores.base import Reader

LEVEL: Final = 3  # where none is asked for: a higher one takes three times as long for some percent
TRIED: Final = 12  # column chunks of which a sample compresses the first pages
TRIED_BYTES: Final = 8 * 1024 * 1024  # of all of them together; one page of so many by itself
PIECE: Final = 256 * 1024  # of them, read at once
BESIDE: Final = 1024  # bytes that a blob of ours holds besides pages and footer
SUFFIX: Final = ".parquet"
NAMED: Final = (SUFFIX, ".parq", ".pq")  # how Parquet files are called
NOT_PARQUET: Final = "it is no Parquet file"


class Parquet:
    """Zstd, levels 1 to 19. Level None: 3. Pages that level 1 makes as small get that."""

    name = "parquet"
    levels = range(1, 20)
    after = CodecSpec("zstd")
    table = "parquet"
    block = 1024 * 1024  # what writers give a page

    def __init__(self, make: probes.Make = encoders.made, deflate: Make = deflater) -> None:
        self._make, self._deflate = make, deflate

    def suffix(self, name: str) -> str:
        """What is called a Parquet file keeps its name."""
        return "" if name.lower().endswith(NAMED) else SUFFIX

    def inside(self, name: str) -> str:
        """`a.csv` of `a.csv.gz`."""
        return inside(name)

    def sample(self, source: Content, *, level: int | None) -> Sample:
        """Of a Parquet file from the footer, and the first pages of some column chunks, spread over it; of a text from
        its beginning, middle and end, and of a .gz from what comes of its first 512 KiB."""
        wanted = LEVEL if level is None else level
        if wrapped.is_gzip(source):
            return _of_gzip(source.size, Beginning(source, self._deflate), level)
        if not is_parquet(source):
            return _of_text(source, level)
        return _of_parquet(source, wanted)

    def at_most(self, size: int) -> int:
        """What would become larger than this is not taken, whichever it is."""
        return at_most(size)

    def encode(
        self,
        source: Content,
        sink: Callable[[bytes], None],
        *,
        spec: CodecSpec,
        origin: Origin,
        executor: Executor | None = None,
    ) -> Encoded:
        """Recompress a Parquet file's pages, in order, or make a text's blocks row groups; the text may be inside of a
        .gz. Raises NotTaken for what is none of these, is damaged or does not come back, VerificationFailed where
        something would not come back as it was, UsageError for a level that is none of ours."""
        check_level(self, spec.level)
        if not is_parquet(source):
            around, content = Around.of(source, self._deflate) if wrapped.is_gzip(source) else (None, source)
            try:
                return text.encode(
                    _how, content, sink, level=spec.level, origin=origin, executor=executor, around=around
                )
            except NotTaken as error:
                raise NotTaken(f"{NOT_PARQUET}, and no table: {error.message}") from error
        return _recompressed(source, sink, spec, origin, executor, comes_back=True)

    def derives(self, source: Content) -> bool:
        """Parquet files."""
        return is_parquet(source)

    def sample_derived(self, source: Content, *, spec: CodecSpec) -> Sample:
        """From the first pages of some column chunks."""
        return _of_parquet(source, LEVEL if spec.level is None else spec.level, reencode=spec.reencode)

    def derive(
        self,
        source: Content,
        sink: Callable[[bytes], None],
        *,
        spec: CodecSpec,
        origin: Origin,
        executor: Executor | None = None,
    ) -> Encoded:
        """The pages as zstd, and no more, or their values in other encodings too. Raises NotTaken for what is damaged
        or would not become smaller, VerificationFailed and UsageError as `encode` does."""
        check_level(self, spec.level)
        return _recompressed(source, sink, spec, origin, executor, comes_back=False)

    def require_same(self, source: Content, made: Content, *, spec: CodecSpec) -> None:
        """Page by page, and what is encoded otherwise column by column."""
        same.require_same(source, made, encodings=spec.reencode)

    def open(self, reader: Reader, *, index: bytes = b"") -> Content:
        """The object as it was. Its index is at the blob's end, and is read from there."""
        opened = block.read(reader)
        if (found := wrapped.taken_off(opened, reader.stat.key)) is not None:
            told, opened = found
            return Deflated(self._inside(reader, opened), told, reader.stat.key, self._deflate)
        return self._inside(reader, opened)

    def _inside(self, reader: Reader, opened: Block) -> Content:
        if opened.form == delimited.FORM:
            return RegeneratedText(reader, opened, delimited.Again.of)
        if opened.form == jsonl.FORM:
            return RegeneratedText(reader, opened, jsonl.Again.of)
        return Regenerated(reader, opened, self._make)

    def describe(self, reader: Reader) -> Origin | None:
        """The origin as encoded, with size and digest; None for a file that is not ours. Raises VerificationFailed for
        one that is ours and damaged."""
        if (told := block.read_note(block.Ending(reader))) is None:
            return None
        return told[0]

    def lacks(self, reader: Reader) -> tuple[str, ...]:
        """By its recipes. Raises VerificationFailed."""
        ending = block.Ending(reader)
        if (told := block.read_note(ending)) is None:
            raise ending.damaged("it does not end as a Parquet file of ours")
        try:
            said = told[1]["told"]
            around = probes.lacking(wrapped.recipes(said), probed(self._deflate))
            return (*probes.lacking(said, self._make), *around)
        except (LookupError, TypeError, ValueError) as error:
            raise ending.damaged("what it says of itself is damaged") from error

    def unlike(self) -> tuple[str, ...]:
        """Of all encoders that recipes name."""
        return probes.unlike(self._make)


def _recompressed(
    source: Content,
    sink: Callable[[bytes], None],
    spec: CodecSpec,
    origin: Origin,
    executor: Executor | None,
    *,
    comes_back: bool,
) -> Encoded:
    level = LEVEL if spec.level is None else spec.level
    try:
        if spec.reencode and not comes_back:
            return reencode.encode(source, sink, level=level, origin=origin, executor=executor)
        return recompress.encode(source, sink, level=level, origin=origin, executor=executor, comes_back=comes_back)
    except Malformed as error:
        raise NotTaken(str(error)) from error


def _how(head: bytes, whole: bool) -> text.How:
    """How a text that begins so is read. Raises NotTaken."""
    return jsonl.found(head, whole) if jsonl.begins(head) else delimited.found(head, whole)


def _of_parquet(source: Content, level: int, *, reencode: bool = False) -> Sample:
    try:
        return Sample(_ratio(source, level, anew=reencode), level)
    except Malformed as error:
        return Sample(1.0, level, reason=str(error))


def _of_text(source: Content, level: int | None) -> Sample:
    """Of what is no Parquet file: that of a text whose table is smaller, or why it is zstd's."""
    try:
        found = text.sample(_how, source, level=level)
    except NotTaken as error:
        why = error.message
    else:
        if found.taken:
            return found
        why = "it would not become smaller"
    return Sample(
        1.0,
        LEVEL if level is None else level,
        reason=f"{NOT_PARQUET}, and no table: {why}",
        instead=CodecSpec("zstd", level),
    )


def _of_gzip(size: int, head: Beginning, level: int | None) -> Sample:
    """Of a .gz of so many bytes that begins so: that of a text whose table is smaller than the .gz, or why not."""
    wanted = LEVEL if level is None else level
    if head.reason:
        return Sample(1.0, wanted, GZIP, reason=head.reason)
    lines = head.content if head.whole else head.content[: head.content.rfind(b"\n") + 1]
    try:
        ratio = text.sample(_how, InMemory(lines), level=level).ratio * len(lines) / head.passed + BESIDE / size
    except NotTaken as error:
        why = f"what is inside is no table: {error.message}"
    else:
        if worth_it(ratio):
            return Sample(ratio, wanted)
        why = NOT_SMALLER
    return Sample(1.0, wanted, reason=f"it is a gzip file, and {why}", instead=CodecSpec("inflated", level))


def _ratio(source: Content, level: int, *, anew: bool) -> float:
    """Stored bytes over content bytes, where values may be encoded anew. Raises Malformed."""
    layout = Layout(source)
    columns: Sequence[Leaf] = ()
    if anew:
        with contextlib.suppress(Malformed):  # then it is page by page
            columns = readable(source, layout)
    chunks = layout.footer.chunks
    sizes = chunks[:, Of.COMPRESSED]
    largest = np.argsort(sizes, kind="stable")[::-1][: 4 * TRIED]  # they weigh most
    some = np.sort(largest[sizes[largest] > 0])
    some = some[np.unique(np.linspace(0, len(some) - 1, TRIED).astype(int))] if len(some) else some
    was = now = 0
    for number in some.tolist():
        if was >= TRIED_BYTES:
            break
        column = int(layout.footer.column[number])
        tried = _first_pages(source, layout, number, level, columns[column] if column < len(columns) else None)
        was, now = was + tried[0], now + (tried[1] if recompress.worthwhile(*tried) else tried[0])
    pages_bytes = int(sizes.sum())
    beside = BESIDE + len(layout.footer.chunks) * 16  # places, checks
    return (source.size - pages_bytes + beside + (pages_bytes * now / was if was else pages_bytes)) / source.size


def _first_pages(source: Content, layout: Layout, number: int, level: int, leaf: Leaf | None) -> tuple[int, int]:
    """Bytes of the first pages of a chunk, and what they would be, with what makes them again, unless they may be
    encoded anew, as those of a leaf."""
    codec = Codec(int(layout.footer.chunks[number, Of.CODEC]))
    begin, end = int(layout.starts[number]), int(layout.ends[number])
    ahead = Ahead(source, lambda _: None, at=begin, piece=PIECE)
    known = Known()
    was = now = 0
    some: list[Taken] = []
    while ahead.at < end and ahead.at - begin < PIECE:
        header = ahead.header(Headers(), end)
        if len(header.raw) + header.stored > TRIED_BYTES or header.size > pages.LARGEST:
            break
        ahead.take(len(header.raw))
        body = ahead.take(header.stored)
        was += len(header.raw) + header.stored
        if leaf is not None:
            some.append(taken(header, body))
        if codec in pages.DECODED:
            page = proven.recompressed(header, body, codec, known.levels(0, header.holds, level), (), frozenset())
            known.enough(0, header.holds, page.level)
            now += page.cost
        else:
            now += len(header.raw) + header.stored
    if leaf is not None and codec in pages.DECODED:
        now = int(now * gained(some, codec, leaf, level, whole=ahead.at == end))
    return was, now
