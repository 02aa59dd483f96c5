"""Packs for tests: members with their contents, written into memory."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor

from hypothesis import strategies as st

from storaged.codecs.base import Encoded
from storaged.codecs.pack import Member, Packed, Packer, why_not
from storaged.testing.contents import ORIGIN, BytesContent, content_of

US = 1_790_000_000_123_456
FILE = {"mode": "0640", "uid": "1000", "gid": "1001", "mtime_ns": f"{US}789", "links": "1", "folders": "0755:0:0"}
OBJECT = {"content-type": "text/csv", "meta:owner": "J\u00f6rg", "tag:a b": "\u2028", "last-modified": "1790000000"}

Given = tuple[Member, bytes]


def packed(
    members: Iterable[Given], *, level: int = 3, executor: Executor | None = None
) -> tuple[Encoded, bytes, list[Packed]]:
    """What was written, the blob, and what became of each member."""
    blob = bytearray()
    with Packer(blob.extend, level=level, origin=ORIGIN, executor=executor) as packer:
        done = [packer.add(member, BytesContent(data)) for member, data in members]
        return packer.finish(), bytes(blob), done


def member(name: str, data: bytes, **others: object) -> Given:
    """A member of this content, as a file in a directory has it unless told otherwise."""
    told = {"mtime_us": US, "generation": 3, "metadata": FILE} | others
    return Member(name, len(data), **told), data  # type: ignore[arg-type]  # (fields by name)


def some(count: int, size: int = 2_000) -> list[Given]:
    """Members of about this size, each of its own content."""
    return [member(f"2026/11/{number:06d}.json", content_of(size + number % 7, seed=number)) for number in range(count)]


_parts = st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=60)
_names = st.lists(_parts, min_size=1, max_size=5).map("/".join)
_texts = st.text(st.characters(exclude_categories=()), max_size=30)
_sizes = st.one_of(st.integers(0, 3), st.integers(0, 3_000), st.integers(128_000, 132_000), st.just(300_000))
_metadata = st.one_of(
    st.just(FILE),
    st.just(OBJECT),
    st.dictionaries(
        st.one_of(
            st.sampled_from(["mode", "uid", "gid", "mtime_ns", "xattr:user.a", "xattr:user.storaged.digest"]), _texts
        ),
        st.one_of(_texts, st.integers(-1, 2**70).map(str), st.sampled_from(["0644", "644", "7777", "AAEC", "1e3"])),
        max_size=6,
    ),
)
_single = st.builds(
    lambda name, size, seed, mtime, generation, metadata: (
        Member(name, size, mtime, generation, "", metadata),
        content_of(size, seed=seed),
    ),
    _names,
    _sizes,
    st.integers(0, 9),
    st.one_of(st.integers(-(10**16), 10**17), st.just(US)),
    st.integers(0, 2**40),
    _metadata,
)
anything = _single.filter(lambda given: not why_not(given[0]))
several = st.lists(anything, max_size=12, unique_by=lambda given: given[0].name)
