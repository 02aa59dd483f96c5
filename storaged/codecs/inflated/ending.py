"""What a blob says behind its frames of content: whose it is, and how the .gz comes back.

A blob is laid out as `storaged.codecs.seekable` says of version 2, with the inflated content in its frames and two
other skippable frames:

- a zstd frame of numbers and bytes, as `told` has it;
- origin, size and digest of the .gz, recipes and layout, as ASCII JSON.
"""

from __future__ import annotations

from typing import Final

import zstandard

from storaged.codecs.checked import CheckedLine
from storaged.codecs.inflated.told import PAYLOAD_BYTES, Told
from storaged.codecs.seekable import Ending, SeekTable, skippable
from storaged.model import Origin
from storaged.stores.base import Reader

_LINE: Final = CheckedLine("storaged-inflated", 1)


def written(origin: Origin, told: Told) -> tuple[bytes, bytes]:
    """The two skippable frames. Raises NotTaken where they would be too long."""
    kept, payload = told.kept()
    return skippable(payload), skippable(_LINE.written(origin, kept))


def described(reader: Reader) -> Origin | None:
    """Of the content; None where it says nothing of this codec. Raises VerificationFailed."""
    ending = Ending(reader, _LINE.prefix)
    return _LINE.read(reader.stat.key, ending.behind(PAYLOAD_BYTES)[2])[0] if ending.ours() else None


def read(reader: Reader) -> tuple[SeekTable, Told]:
    """Where its frames are, and how the .gz comes back. Raises VerificationFailed."""
    key = reader.stat.key
    table, payload, line = Ending(reader, _LINE.prefix).behind(PAYLOAD_BYTES)
    origin, said = _LINE.read(key, line)
    try:
        return table, Told.of(origin.size, said, payload)
    except (ValueError, TypeError, LookupError, zstandard.ZstdError) as error:
        raise _LINE.damaged(key) from error
