"""Digests are those of the xxhash tools."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from storaged.digest import Digest, digest_of


def test_known_values() -> None:
    """As `xxhsum -H2` prints them (values from the xxHash project's own sanity table for empty input, and `xxhsum`)."""
    assert digest_of([]) == "99aa06d3014798d86001c324468d497f"
    assert digest_of([b"abc"]) == "06b05ab6733a618578af5f94892f3950"


@given(chunks=st.lists(st.binary(max_size=300)))
def test_chunks_do_not_matter(chunks: list[bytes]) -> None:
    """A digest grown in pieces is the digest of the whole."""
    digest = Digest()
    for chunk in chunks:
        digest.update(memoryview(chunk))
    assert digest.hexdigest() == digest_of([b"".join(chunks)])
