"""The identity codec."""

from __future__ import annotations

import pytest

from storaged.codecs.base import Sample
from storaged.codecs.identity import Identity
from storaged.errors import UsageError
from storaged.model import CodecSpec
from storaged.testing.codecs import CodecContract
from storaged.testing.contents import MIB, ORIGIN, BytesContent, BytesReader, encoded
from tests.laws import LONG


class TestIdentity(CodecContract):
    codec = Identity()
    much = (1024 if LONG else 384) * MIB


def test_stored_bytes_are_the_content() -> None:
    """Same bytes, same digest, nothing to index and nothing said inside."""
    report, blob = encoded(Identity(), b"something")
    assert blob == b"something"
    assert (report.stored_size, report.stored_digest, report.index) == (report.size, report.digest, b"")
    assert Identity().describe(BytesReader(blob)) is None


def test_a_blob_takes_what_its_content_does_and_a_sample_reads_nothing() -> None:
    """There is nothing to be found out."""
    source = BytesContent(b"something")
    assert Identity().sample(source, level=None) == Sample(1.0, None)
    assert source.reads == []
    assert Identity().at_most(9) == 9


def test_a_level_is_refused() -> None:
    """There is nothing that a level could mean."""
    spec = CodecSpec("identity", 3)
    with pytest.raises(UsageError, match="takes no level"):
        Identity().encode(BytesContent(b""), lambda data: None, spec=spec, origin=ORIGIN)
