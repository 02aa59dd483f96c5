"""Whether encoders here still make what they made when a blob was written.

A recipe names an encoder, and a later version of its library may make other bytes. So each encoder is given the same
input, and a digest of what it makes of it is noted in every blob whose pages it makes again; whoever reads the blob, or
only looks after it, gives the encoder at hand that input and compares.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import xxhash

from storaged.codecs.parquet import encoders
from storaged.codecs.parquet.pieces import NOTHING
from storaged.codecs.parquet.thrift import Malformed

Make = Callable[[str, bytes], bytes]  # as encoders.made

LINES: Final = 4_000  # of the input: some 145 KiB, more than a block of zstd or snappy
_HEADER: Final = "1f8b08000000000000ff"  # of gzip: what a page's own says makes no difference

# What the versions in requirements.txt make. An upgrade that changes one of them is an upgrade after which blobs are
# not read that were written before it.
MADE: Final[Mapping[str, str]] = {
    "snappy:arrow": "76520a1fc38d635c",
    "snappy:rust": "742c9e0ba7d96ae8",
    "lz4:arrow": "18d09e27212a7639",
    "lz4:rust": "18d09e27212a7639",
    "gzip:1:8": "cff72f336e253a68",
    "gzip:2:8": "57cbdec42603386a",
    "gzip:3:8": "41a085579bff2f23",
    "gzip:4:8": "d87f2c2b5e73758e",
    "gzip:5:8": "bd0b7a85d5ace714",
    "gzip:6:8": "e9716e58c7061e7f",
    "gzip:6:9": "a62ce05fede34fa3",
    "gzip:7:8": "fad72976babc5098",
    "gzip:8:8": "aad4451512dbd1fd",
    "gzip:9:8": "aad4451512dbd1fd",
    "gzip:9:9": "5ac2fea8eb06bbc9",
    "zstd:1:1:0": "601bb85a38e5c323",
    "zstd:2:1:0": "ebdd59df09c0dc77",
    "zstd:3:1:0": "9b99bf5da4f55bee",
    "zstd:4:1:0": "36739474aba1d32f",
    "zstd:5:1:0": "8291c473cf626180",
    "zstd:6:1:0": "921978d0a05f5c43",
    "zstd:7:1:0": "92e3453f2dc923e7",
    "zstd:8:1:0": "6731e78fc0b4f3b3",
    "zstd:9:1:0": "c845faf88f66a322",
    "zstd:10:1:0": "0468d1c14359c970",
    "zstd:11:1:0": "5c1de16a4c929728",
    "zstd:12:1:0": "5c1de16a4c929728",
    "zstd:3:0:0": "8a648580e0e67ef1",
    "zstd:3:1:1": "93aa15028746cdc8",
    "brotli:1": "b320b93e9517b276",
    "brotli:4": "d5ce8491dbf0da7d",
    "brotli:5": "9ef2ae0fb031d693",
    "brotli:6": "261d0874f9ddb875",
    "brotli:8": "c5c5098d3ad177e7",
}


@functools.cache
def given() -> bytes:
    """The input: text with matches near and far, and digits that hardly match."""
    return b"".join(
        b"%d,%x,word %d of %d\n%x" % (n, n * 2_654_435_761 % 2**32, n * 7_919 % 97, n // 50, n * n * 40_503 % 2**40)
        for n in range(LINES)
    )


def probe(recipe: str, make: Make = encoders.made) -> str:
    """A digest of what a recipe makes of the input; "" where it hangs on no encoder. Raises Malformed where there is no
    such recipe."""
    name, *words = recipe.split(":")
    if recipe in (encoders.PLAIN, NOTHING):
        return ""
    return _probed(":".join((name, *words[:2], _HEADER)) if name == "gzip" else recipe, make)


@functools.lru_cache(maxsize=128)
def _probed(recipe: str, make: Make) -> str:
    return xxhash.xxh3_64_hexdigest(make(recipe, given()))


def note(recipes: Sequence[str], make: Make = encoders.made) -> dict[str, Any]:
    """What a blob says of the recipes that its pages come back by."""
    return {
        "recipes": list(recipes),
        "probes": [probe(each, make) for each in recipes],
        "versions": encoders.versions(),
    }


def changed(told: Mapping[str, Any], make: Make = encoders.made) -> dict[str, str]:
    """Of the recipes in a note those that make other bytes here than then, each with the library that made them and
    which it has to be. Raises LookupError, TypeError, ValueError where it is no such note."""
    found: dict[str, str] = {}
    for recipe, then in zip(told.get("recipes", ()), told.get("probes", ()), strict=False):
        if _differs(recipe, then, make):
            library = encoders.library(recipe)
            then_by, now = told["versions"][library], encoders.versions()[library]
            found[recipe] = f"{library} {then_by} (here is {now}, and makes other bytes)"
    return found


def lacking(told: Mapping[str, Any], make: Make = encoders.made) -> tuple[str, ...]:
    """The libraries of what `changed` finds, which raises what it does."""
    return tuple(sorted(set(changed(told, make).values())))


def unlike(make: Make = encoders.made, *, of: str = "") -> tuple[str, ...]:
    """Of all recipes, or of those that begin so, the libraries here that make other bytes than those that
    requirements.txt names."""
    made = [(recipe, then) for recipe, then in MADE.items() if recipe.startswith(of)]
    libraries = {encoders.library(recipe) for recipe, then in made if _differs(recipe, then, make)}
    return tuple(sorted(f"{library} {encoders.versions()[library]}" for library in libraries))


def _differs(recipe: str, then: str, make: Make) -> bool:
    try:
        return probe(recipe, make) != then
    except Malformed:  # of a later version of ours
        return True
