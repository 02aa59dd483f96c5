"""What a blob says behind its frames of content: whose it is, and how the .gz comes back.

A blob is laid out as `storaged.codecs.seekable` says of version 2, with the inflated content in its frames and two
other skippable frames:

- a zstd frame of numbers and bytes, as `told` has it;
- origin, size and digest of the .gz, recipes and layout, as ASCII JSON.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final

import zstandard

from storaged.codecs.inflated.told import PAYLOAD_BYTES, Told
from storaged.codecs.seekable import Ending, SeekTable, skippable
from storaged.digest import digest_of
from storaged.errors import VerificationFailed
from storaged.model import Origin
from storaged.stores.base import Reader

VERSION: Final = 1

_PREFIX: Final = b'{"storaged-inflated":'
_ORIGIN: Final = [f.name for f in dataclasses.fields(Origin) if f.name not in ("size", "digest")]


def written(origin: Origin, told: Told) -> tuple[bytes, bytes]:
    """The two skippable frames. Raises NotTaken where they would be too long."""
    kept, payload = told.kept()
    said = {
        "origin": {name: getattr(origin, name) for name in _ORIGIN},
        "content": {"attempt": origin.attempt, "size": origin.size, "xxh3_128": origin.digest},
        **kept,
    }
    line = _line({"storaged-inflated": VERSION} | said | {"check": digest_of([_line(said)])})
    return skippable(payload), skippable(line)


def _line(said: object) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()


def described(reader: Reader) -> Origin | None:
    """Of the content; None where it says nothing of this codec. Raises VerificationFailed."""
    ending = Ending(reader, _PREFIX)
    return _said(reader.stat.key, ending.behind(PAYLOAD_BYTES)[2])[0] if ending.ours() else None


def read(reader: Reader) -> tuple[SeekTable, Told]:
    """Where its frames are, and how the .gz comes back. Raises VerificationFailed."""
    key = reader.stat.key
    table, payload, line = Ending(reader, _PREFIX).behind(PAYLOAD_BYTES)
    origin, said = _said(key, line)
    try:
        return table, Told.of(origin.size, said, payload)
    except (ValueError, TypeError, LookupError, zstandard.ZstdError) as error:
        raise _damaged(key) from error


def _said(key: str, line: bytes) -> tuple[Origin, dict[str, Any]]:
    """Raises VerificationFailed."""
    try:
        said = json.loads(line)
        version, check = said.pop("storaged-inflated"), said.pop("check")
        if check == digest_of([_line(said)]):
            if version != VERSION:
                raise VerificationFailed(
                    f"{key}: its format version is {version}, not {VERSION}", hint="upgrade storaged"
                )
            content = said["content"]
            return Origin(**said["origin"], size=content["size"], digest=content["xxh3_128"]), said
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _damaged(key) from error
    raise _damaged(key)


def _damaged(key: str) -> VerificationFailed:
    return VerificationFailed(
        f"{key}: what it says of its content is damaged", hint="it was cut short, is damaged, or is no blob of ours"
    )
