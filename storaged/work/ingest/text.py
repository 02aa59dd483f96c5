"""The bytes of a log as the text that its lines are cut from, in memory that no log makes grow.

What is no part of any line is taken away: NULs that `copytruncate` and lost writes leave, and byte order marks, be they
of the file or of one that was put behind another. UTF-16 and UTF-32 become UTF-8 where such a mark tells them.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
from typing import IO, Final, Protocol

_NUL: Final = b"\0"
_MARK: Final = codecs.BOM_UTF8
_JUNK: Final = re.compile(rb"(\n?)((?:\x00|\xef\xbb\xbf)+)(?=(\r?\n)?)")
_RUN: Final = re.compile(rb"\x00{3,}")
_TAIL: Final = re.compile(rb"[\x00\xef\xbb\xbf\r]*\Z")
_LONGEST_TAIL: Final = 16  # bytes of junk that are held until what follows is known
_WIDE: Final = (  # with an ASCII character behind the mark: else these are bytes like any others
    (re.compile(rb"\xff\xfe\x00\x00[\t-~]\x00\x00\x00", re.DOTALL), "utf-32"),
    (re.compile(rb"\x00\x00\xfe\xff\x00\x00\x00[\t-~]", re.DOTALL), "utf-32"),
    (re.compile(rb"\xff\xfe[\t-~]\x00", re.DOTALL), "utf-16"),
    (re.compile(rb"\xfe\xff\x00[\t-~]", re.DOTALL), "utf-16"),
)
_TOLD: Final = 8  # bytes by which a file shows its encoding


class Bytes(Protocol):
    """What gives bytes, one after the other."""

    def read(self, size: int, /) -> bytes:
        """At most so many; none at the end only."""


class WithoutHoles:
    """A file from its first byte on, read past its holes: a log may begin with more of them than can be read."""

    def __init__(self, file: IO[bytes]) -> None:
        """`file` is not buffered, and at its begin."""
        self._file = file
        self._hole = False

    def read(self, size: int, /) -> bytes:
        """As `Bytes.read`; of a hole only its first part."""
        if self._hole:
            self._skip()
        found = self._file.read(size)
        self._hole = len(found) == size and not found.strip(_NUL)
        return found

    def _skip(self) -> None:
        try:
            os.lseek(self._file.fileno(), self._file.tell(), os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but holes follows
                self._file.seek(0, os.SEEK_END)
            elif error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a filesystem that does not tell
                raise


class Text:
    """What lines are cut from.

    At the begin of a line NULs and marks are dropped; a line of NULs alone becomes one NUL, which no format takes for
    an event. Elsewhere NULs before the end of a line are dropped, two or more together end the line, and one stays.
    """

    def __init__(self, raw: Bytes) -> None:
        self._raw = raw
        self._decoder: codecs.IncrementalDecoder | None = None
        self._begun = False
        self._ended = False
        self._at_start = True  # of a line
        self._tail = b""  # read, and not yet understood
        self._ready = b""

    def read(self, size: int, /) -> bytes:
        while not self._ready and not self._ended:
            data = self._next(size)
            self._ended = not data
            self._ready = self._cleaned(self._utf8(data))
        found, self._ready = self._ready[:size], self._ready[size:]
        return found

    def _next(self, size: int) -> bytes:
        if self._begun:
            return self._raw.read(size)
        self._begun = True
        data = b""
        while len(data) < _TOLD and (more := self._raw.read(max(size, _TOLD))):
            data += more
        encoding = next((name for told, name in _WIDE if told.match(data)), None)
        if encoding:
            self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        return data

    def _utf8(self, data: bytes) -> bytes:
        if self._decoder is None:
            return data
        return self._decoder.decode(data, final=not data).encode()

    def _cleaned(self, data: bytes) -> bytes:
        plain = not self._tail and _NUL not in data and _MARK not in data
        if plain and not data.endswith((b"\xef", b"\xef\xbb")):
            return self._passed(data)
        data = _RUN.sub(b"\0\0", self._tail + data)
        if self._ended:
            data, self._tail = data.rstrip(_NUL), b""
        else:
            held = _TAIL.search(data, max(len(data) - _LONGEST_TAIL, 0))
            cut = held.start() if held else len(data)
            data, self._tail = data[:cut], data[cut:]
        if not self._at_start:
            return self._passed(_JUNK.sub(_cleared, data))
        return self._passed(_JUNK.sub(_cleared, b"\n" + data)[1:])

    def _passed(self, data: bytes) -> bytes:
        if data:
            self._at_start = data.endswith(b"\n")
        return data


def _cleared(found: re.Match[bytes]) -> bytes:
    start, junk, end = found.groups(b"")
    nuls = junk.count(_NUL)
    if start:
        return start + (_NUL if nuls and end else b"")
    if not nuls:
        return junk  # a character like any other
    if end:
        return b""
    return b"\n" if nuls > 1 else junk
