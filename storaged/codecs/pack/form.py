"""The form `pack`: many objects in one blob, a tar in seekable zstd."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from storaged.codecs.pack import ending
from storaged.codecs.pack.contents import listed
from storaged.codecs.pack.member import Listed
from storaged.codecs.pack.packer import FRAME
from storaged.codecs.zstd import Frames
from storaged.model import Origin
from storaged.stores.base import Reader

KEPT: Final = 64  # decoded frames that an open pack keeps, and that one read of the store fetches at most


class Pack:
    """How a pack is read. Its content is the tar; an object is a slice of it."""

    name = "pack"
    table = ""
    block = FRAME

    def suffix(self, name: str) -> str:
        return ".tar.zst"

    def open(self, reader: Reader, *, index: bytes = b"") -> Frames:
        """The decoded tar: a range within one frame is one read of that frame. Without an index, the pack's end is read
        first. Raises VerificationFailed if the seek table is damaged or is not this pack's."""
        stat = reader.stat
        table = ending.of_index(index, stat.size, stat.key) if index else ending.read(reader)
        return Frames(reader, table, kept=KEPT, runs=True)

    def describe(self, reader: Reader) -> Origin | None:
        """The origin as written, with size and digest of the tar; None for what is not ours. Raises VerificationFailed
        for what is ours and damaged."""
        return ending.described(reader)

    def command(self, file: str, name: str) -> str:
        """What writes the content of a member to stdout without storaged. A backslash in a name that tar is asked for
        begins an escape."""
        escaped = name.replace("\\", "\\\\")
        return f"zstd -dc {shlex.quote(file)} | tar -xO -- {shlex.quote(escaped)}"

    def contents(self, reader: Reader) -> Iterator[Listed]:
        """Its members in the order of their offsets, as it lists them: a statement, and no claim of theirs on it. In
        bounded memory. Raises VerificationFailed."""
        table = ending.read(reader)
        for chunk in ending.chunks(reader, table):
            yield from listed(chunk, table.size, reader.stat.key)


PACK: Final = Pack()
