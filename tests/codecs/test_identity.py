"""The identity codec."""

from __future__ import annotations

import pytest

from storaged.codecs.identity import Identity
from storaged.errors import UsageError
from storaged.model import CodecSpec
from storaged.testing.codecs import ORIGIN, BytesReader, CodecContract, encoded


class TestIdentity(CodecContract):
    codec = Identity()


def test_stored_bytes_are_the_content() -> None:
    """Same bytes, same digest, nothing to index and nothing said inside."""
    report, blob = encoded(Identity(), iter([b"some", b"thing"]))
    assert blob == b"something"
    assert (report.stored_size, report.stored_digest, report.index) == (report.size, report.digest, b"")
    assert Identity().describe(BytesReader(blob)) is None


def test_a_level_is_refused() -> None:
    """There is nothing that a level could mean."""
    spec = CodecSpec("identity", 3)
    with pytest.raises(UsageError, match="takes no level"):
        Identity().encode(iter([b""]), lambda data: None, spec=spec, origin=ORIGIN)
