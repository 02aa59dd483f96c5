"""What a file is put together from again: its pieces in order, and where in the blob each comes from."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import xxhash

from storaged.codecs.packed import sums
from storaged.codecs.parquet.block import Block
from storaged.codecs.parquet.thrift import Malformed

if TYPE_CHECKING:
    from storaged.codecs.packed import Column

COPY: Final = 0  # the same bytes are in the blob
LITERAL: Final = 1  # its bytes are kept in the block; the blob may have other bytes in this place
FOOTER: Final = 2  # is kept as a difference to the blob's own footer
PAGES: Final = 3  # and on: a page, by the recipe of this number
COPIED: Final = 1024 * 1024  # bytes of one copied piece at most: as many are read to check one of them

PLAIN_HEADER: Final = 0
LITERAL_HEADER: Final = 1  # the page's header is kept in the block
NOT_FLAGGED: Final = 2  # the page said that it is not compressed

NOTHING: Final = "nothing"  # a recipe: the page's stored bytes are kept as they are, beside the chunk


def check_of(*parts: bytes | memoryview) -> int:
    """What a piece is compared with when it comes back."""
    digest = xxhash.xxh3_64()
    for part in parts:
        digest.update(part)
    return digest.intdigest() & 0xFFFFFFFF


class Pieces:
    """The pieces of a file while it is encoded."""

    def __init__(self) -> None:
        self._what, self._flags = array("H"), array("B")
        self._size, self._stored, self._header, self._check = array("Q"), array("Q"), array("L"), array("L")
        self._kept_of, self._kept_at, self._kept_size = array("Q"), array("Q"), array("Q")
        self._literals = bytearray()
        self._recipes: dict[str, int] = {}
        self.content = 0  # bytes of the file that they cover

    def __len__(self) -> int:
        return len(self._what)

    def copy(self, data: bytes) -> None:
        self._add(COPY, len(data), len(data), check=check_of(data))

    def literal(self, data: bytes, stored: int) -> None:
        self._add(LITERAL, len(data), stored, check=check_of(data))
        self._literals += data

    def footer(self, data: bytes) -> None:
        self._add(FOOTER, len(data), 0, check=check_of(data))

    def skip(self, stored: int) -> None:
        """Bytes of the blob that the file has not."""
        self._add(LITERAL, 0, stored, check=check_of(b""))

    def page(self, header: bytes, body: bytes, stored: int, recipe: str, flags: int) -> None:
        number = self._recipes.setdefault(recipe, PAGES + len(self._recipes))
        if flags & LITERAL_HEADER:
            self._literals += header
        check = check_of(header, body)
        self._add(number, len(header) + len(body), stored, header=len(header), check=check, flags=flags)

    def kept(self, piece: int, at: int, size: int) -> None:
        """What makes a page out of what its recipe makes lies there in the blob."""
        self._kept_of.append(piece)
        self._kept_at.append(at)
        self._kept_size.append(size)

    @property
    def recipes(self) -> list[str]:
        return list(self._recipes)

    def columns(self) -> dict[str, Column]:
        """As `Index` takes them."""
        named = {
            "what": self._what,
            "flags": self._flags,
            "size": self._size,
            "stored": self._stored,
            "header": self._header,
            "check": self._check,
            "kept_of": self._kept_of,
            "kept_at": self._kept_at,
            "kept_size": self._kept_size,
        }
        return {name: np.array(numbers, np.uint64) for name, numbers in named.items()}

    def parts(self) -> Mapping[str, bytes]:
        return {"literals": bytes(self._literals)}

    def _add(self, what: int, size: int, stored: int, *, check: int, header: int = 0, flags: int = 0) -> None:
        if len(self._literals) > LITERALS:
            raise Malformed("too much of it is neither page nor index")
        self._what.append(what)
        self._size.append(size)
        self._stored.append(stored)
        self._header.append(header)
        self._check.append(check)
        self._flags.append(flags)
        self.content += size


LITERALS: Final = 128 * 1024 * 1024  # bytes kept in the block at most


@dataclass(frozen=True, slots=True)
class Piece:
    """One of them: `at` and `stored` tell where in the blob it comes from, `kept` where its difference lies."""

    what: int
    flags: int
    begin: int
    size: int
    at: int
    stored: int
    header: int
    check: int
    literal_at: int
    kept: tuple[int, int] | None


class Index:
    """The pieces of a blob's content, found by offset. Raises Malformed where they do not add up."""

    def __init__(self, block: Block, *, content: int) -> None:
        columns = block.columns
        try:
            self._what, self._flags = columns["what"], columns["flags"]
            self._size, self._stored = columns["size"], columns["stored"]
            self._header, self._check = columns["header"], columns["check"]
            kept = zip(*(columns[name].tolist() for name in ("kept_of", "kept_at", "kept_size")), strict=True)
            self._kept = {of: (at, size) for of, at, size in kept}
            self.literals = block.parts["literals"]
            self.footer = block.parts["footer"]
            self.recipes = [str(recipe) for recipe in block.told["recipes"]]
            self.told = block.told
        except (LookupError, TypeError, ValueError) as error:
            raise Malformed("its table of pieces lacks something") from error
        largest = max((int(c.max(initial=0)) for c in (self._size, self._stored)), default=0)
        if (
            largest > 1 << 48
            or len({len(c) for c in (self._what, self._flags, self._size, self._stored, self._header, self._check)})
            != 1
        ):
            raise Malformed("its table of pieces has impossible numbers")
        in_block = np.where(self._what == LITERAL, self._size, np.where(self._flags & LITERAL_HEADER, self._header, 0))
        self._ends, self._at, self._literal_at = (sums(c) for c in (self._size, self._stored, in_block))
        if self._ends[-1] != content or self._at[-1] != block.begins or self._literal_at[-1] != len(self.literals):
            raise Malformed("its table of pieces does not cover the file")
        if self._what.max(initial=0) >= PAGES + len(self.recipes) or (self._header > self._size).any():
            raise Malformed("its table of pieces has impossible numbers")

    def at(self, offset: int) -> int:
        """The number of the piece that holds this byte of the content."""
        return int(np.searchsorted(self._ends, offset, side="right")) - 1

    def piece(self, number: int) -> Piece:
        return Piece(
            what=int(self._what[number]),
            flags=int(self._flags[number]),
            begin=int(self._ends[number]),
            size=int(self._size[number]),
            at=int(self._at[number]),
            stored=int(self._stored[number]),
            header=int(self._header[number]),
            check=int(self._check[number]),
            literal_at=int(self._literal_at[number]),
            kept=self._kept.get(number),
        )
