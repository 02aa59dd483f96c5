"""kerchunk's references: JSON of both versions, and tables of Parquet. What VirtualiZarr writes is the same.

A file is read piece by piece and never held as a whole: it may name millions. What fsspec's ReferenceFileSystem would
take is taken; of the templates only names and calls with texts (`{{u}}`, `{{f(c='x')}}`) are followed, nothing is run.
"""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import json
import re
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final, TypeAlias

import zstandard

from storaged.codecs.base import Content, ContentFile
from storaged.errors import StoragedError

HEAD: Final = 64 << 10  # bytes by which a file shows whether it holds references
MOST_TEXT: Final = 1 << 30  # characters of one JSON file: some ten million references
LARGEST_VALUE: Final = 16 << 20  # characters of one value in it
LARGEST_GROUP: Final = 256 << 20  # bytes of paths in one row group
MOST_GENERATED: Final = 1_000_000  # names of one `gen`

JSON: Final = "kerchunk-json"
PARQUET: Final = "kerchunk-parquet"

_JSON_NAMES: Final = tuple(
    f".{stem}{packed}"
    for stem in ("json", "zjson", "kerchunk", "refs", "ref")
    for packed in ("", ".gz", ".zst", ".zstd")
)
_PARQUET_NAME: Final = re.compile(r"refs\.[0-9]+\.parq(uet)?")
_DELTA_LOG: Final = re.compile(r"[0-9]{20}\.json")
_PIECE: Final = 1 << 20


class Unfollowed(StoragedError):
    """What a file with references names cannot be known, and why."""


class NoReferences(StoragedError):
    """A file looked as if it held references, and holds none."""


def may_hold(key: str) -> bool:
    """Whether a file of this name may hold references. Zarr's own metadata and the log of a Delta table are none."""
    if not key.endswith(_JSON_NAMES) and "refs." not in key:  # nearly all
        return False
    name = key[key.rfind("/") + 1 :]
    if name.endswith(_JSON_NAMES):
        return name != "zarr.json" and not (name[0].isdigit() and _DELTA_LOG.fullmatch(name))
    return name.startswith("refs.") and _PARQUET_NAME.fullmatch(name) is not None


def form_of(key: str, content: Content) -> str:
    """Which form of references a file seems to have, by its name and first bytes; empty: none. Raises StoreError."""
    if _PARQUET_NAME.fullmatch(key[key.rfind("/") + 1 :]):
        return PARQUET
    head = content.read_at(0, HEAD)
    try:
        if head[:4] == b"\x28\xb5\x2f\xfd":
            head = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(head)).read(HEAD)
        elif head[:2] == b"\x1f\x8b":
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except (zstandard.ZstdError, zlib.error):
        return ""
    return JSON if head.lstrip(_BLANK)[:1] == b"{" and _hints(head) else ""


def named(form: str, content: Content) -> Iterator[str | None]:
    """What a file names, as written there, more than once perhaps; None: what its reader is told beside it. Raises
    Unfollowed, NoReferences, and what `content` raises."""
    return _in_parquet(content) if form == PARQUET else _in_json(content)


_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
_ZARR: Final = re.compile(rb'"(?:[^"\\]*/)?(?:\.zgroup|\.zarray|\.zattrs|\.zmetadata|zarr\.json)"\s*:')
_REFS: Final = re.compile(rb'"(?:refs|gen)"\s*:\s*[\[{]')
_VERSION: Final = re.compile(rb'"version"\s*:\s*1\b')
_RANGE: Final = re.compile(rb':\s*\[\s*(?:"[^"]*"|null)\s*(?:,\s*[0-9]+\s*,\s*[0-9]+\s*)?\]')


def _hints(head: bytes) -> bool:
    """Whether so much of a JSON object may be one of references: their version and list, Zarr's names as keys, or a
    path with an offset and a length."""
    if _REFS.search(head):
        return bool(_VERSION.search(head) or _ZARR.search(head) or _RANGE.search(head))
    return bool(_ZARR.search(head) or _RANGE.search(head))


# -- Parquet ---------------------------------------------------------------------------------------------------------


def _in_parquet(content: Content) -> Iterator[str | None]:
    import pyarrow as pa  # here: few processes meet one, and it loads numpy
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(ContentFile(content)) as file:
            if "path" not in file.schema_arrow.names:
                raise NoReferences("it has no column `path`")
            number = file.schema_arrow.names.index("path")
            for group in range(file.metadata.num_row_groups):
                if file.metadata.row_group(group).column(number).total_uncompressed_size > LARGEST_GROUP:
                    raise Unfollowed(f"a row group has more than {LARGEST_GROUP >> 20} MiB of paths")
                for batch in file.iter_batches(65_536, row_groups=[group], columns=["path"]):
                    for path in batch.column(0).unique().to_pylist():
                        if isinstance(path, str):
                            yield path
                        elif path is not None:
                            raise NoReferences("its column `path` is no text")
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError) as error:
        raise Unfollowed(f"it is damaged: {error}") from error


# -- JSON ------------------------------------------------------------------------------------------------------------


def _in_json(content: Content) -> Iterator[str | None]:
    try:
        yield from _References(lambda: _Json(_text(content))).urls()
    except (ValueError, EOFError, OSError, zlib.error, zstandard.ZstdError) as error:  # ValueError: json's, and of text
        raise Unfollowed(f"it is damaged: {error}") from error
    except RecursionError as error:
        raise Unfollowed("it is nested too deeply") from error


_Urls: TypeAlias = Generator[str | None, None, bool]


class _References:
    """The names in one file, which is opened anew where templates stand behind what they are used in."""

    def __init__(self, opened: Callable[[], _Json]) -> None:
        self._open = opened
        self._templates: Mapping[str, str] | None = None

    def urls(self) -> Iterator[str | None]:
        again = yield from self._once()
        if again:
            self._templates = self._templates or {}
            yield from self._once()

    def _once(self) -> _Urls:
        """Returns whether something was left out, since it needs templates that come later."""
        document, listed, odd, later, generated = self._open(), False, False, False, list[Any]()
        for name in document.members():
            if name == "refs" and document.next_sign() == "{":
                listed = True
                for _ in document.members():
                    value = document.value()
                    if _is_range(value):
                        later |= yield from self._followed(value[0])
                continue
            value = document.value()
            if name == "version":
                listed = True
            elif name == "templates" and isinstance(value, dict):
                self._templates = {key: text for key, text in value.items() if isinstance(text, str)}
            elif name == "gen" and isinstance(value, list):
                generated = value
            elif _is_range(value):
                later |= yield from self._followed(value[0])
            else:
                odd |= not isinstance(value, str | dict)
        document.end()
        if odd and not listed:
            raise NoReferences("not all in it are references")
        for one in generated:
            yield from self._generated(one)
        return later

    def _followed(self, url: str | None) -> _Urls:
        """Returns whether it must wait for templates."""
        if url is None or "{{" not in url:
            yield url
            return False
        if self._templates is None:
            return True
        yield _filled(url, self._templates)
        return False

    def _generated(self, one: Any) -> Iterator[str | None]:
        try:
            lists = {key: _values(value) for key, value in one["dimensions"].items()}
            url = one["url"]
            number = 1
            for values in lists.values():
                number *= len(values)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Unfollowed(f"an entry of its `gen` is malformed: {error!r}") from error
        if number > MOST_GENERATED:
            raise Unfollowed(f"an entry of its `gen` stands for more than {MOST_GENERATED:,} references")
        if not isinstance(url, str):
            raise Unfollowed("an entry of its `gen` has no URL")
        for chosen in itertools.product(*lists.values()):
            known = dict(zip(lists, map(str, chosen), strict=True))
            yield _filled(url, {**(self._templates or {}), **known})


def _is_range(value: Any) -> bool:
    """Whether it is a path, or a path with an offset and a length."""
    if not isinstance(value, list) or len(value) not in (1, 3) or not (value[0] is None or isinstance(value[0], str)):
        return False
    return all(isinstance(number, int) for number in value[1:])


def _values(dimension: Any) -> list[Any] | range:
    if isinstance(dimension, list):
        return dimension
    return range(int(dimension.get("start", 0)), int(dimension["stop"]), int(dimension.get("step", 1)))


_EXPRESSION: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_CALL: Final = re.compile(r"""(\w+)\(\s*((?:\w+\s*=\s*(?:'[^']*'|"[^"]*"|[0-9]+)\s*,?\s*)*)\)""")
_ARGUMENT: Final = re.compile(r"""(\w+)\s*=\s*(?:'([^']*)'|"([^"]*)"|([0-9]+))""")


def _filled(url: str, known: Mapping[str, str]) -> str:
    """The URL with what stands in its braces."""

    def one(found: re.Match[str]) -> str:
        asked = found[1]
        if asked in known and "{{" not in known[asked]:
            return known[asked]
        call = _CALL.fullmatch(asked)
        if call is not None and call[1] in known:
            given = {a[1]: next(t for t in a.groups()[1:] if t is not None) for a in _ARGUMENT.finditer(call[2])}
            return _filled(known[call[1]], given)
        raise Unfollowed(f"what {found[0]!r} stands for is not known")

    return _EXPRESSION.sub(one, url)


def _text(content: Content) -> Iterator[str]:
    """A file's text, piece by piece. Raises Unfollowed where it is longer than MOST_TEXT."""
    head, raw = content.read_at(0, 4), io.BufferedReader(ContentFile(content), _PIECE)
    source: Any = raw
    if head == b"\x28\xb5\x2f\xfd":
        source = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(raw, read_across_frames=True)
    elif head[:2] == b"\x1f\x8b":
        source = gzip.GzipFile(fileobj=raw)
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    length = 0
    while data := source.read(_PIECE):
        length += len(data)
        if length > MOST_TEXT:
            raise Unfollowed(f"it has more than {MOST_TEXT >> 30} GiB of text")
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)


class _Json:
    """A JSON text that is read from front to end, its large objects member by member. Raises json.JSONDecodeError."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text, self._at = "", 0
        self._decode = json.JSONDecoder().raw_decode

    def members(self) -> Iterator[str]:
        """The names of an object's members. Whoever asks reads each value before asking for the next name."""
        self._take("{")
        if self.next_sign() == "}":
            self._at += 1
            return
        while True:
            name = self.value()
            if not isinstance(name, str):
                raise self._wrong("a name is expected")
            self._take(":")
            yield name
            if self.next_sign() == "}":
                self._at += 1
                return
            self._take(",")
            self.next_sign()

    def value(self) -> Any:
        """The next value, whole."""
        self.next_sign()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._more():
                    raise
                continue
            if end < len(self._text) or not self._more():  # a number may go on
                self._at = end
                return value

    def next_sign(self) -> str:
        """The sign that comes next, spaces aside; empty at the end."""
        while True:
            text, at, length = self._text, self._at, len(self._text)
            while at < length and text[at] in " \t\r\n":
                at += 1
            self._at = at
            if at < length:
                return text[at]
            if not self._more():
                return ""

    def end(self) -> None:
        """Nothing follows. Raises NoReferences where something does: then it is a file of many objects."""
        if self.next_sign():
            raise NoReferences("it holds more than one object")

    def _take(self, sign: str) -> None:
        if self.next_sign() != sign:
            raise self._wrong(f"{sign!r} is expected")
        self._at += 1

    def _more(self) -> bool:
        if len(self._text) - self._at > LARGEST_VALUE:
            raise Unfollowed(f"one value in it has more than {LARGEST_VALUE >> 20} MiB")
        for piece in self._pieces:
            if piece:
                self._text, self._at = self._text[self._at :] + piece, 0
                return True
        return False

    def _wrong(self, what: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(what, self._text[self._at : self._at + 40], 0)
