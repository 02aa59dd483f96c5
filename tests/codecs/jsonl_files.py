"""Lines of JSON objects to encode: of any data, and too many to hold."""

from __future__ import annotations

import json

from storaged.testing.contents import MIB
from tests.codecs import text_files

VALUE = 960  # bytes of one value


_ALLOWED = bytes(byte | 0x80 if byte < 0x20 or byte in b'"\\' else byte for byte in range(256))


def lines_of(data: bytes) -> bytes:
    """Objects with strings of these bytes, but for those that may not stand in one as they are."""
    values = (data[at : at + VALUE].translate(_ALLOWED) for at in range(0, len(data), VALUE))
    return b"".join(b'{"n":%d,"data":"%s"}\n' % numbered for numbered in enumerate(values)) or b'{"n":0}\n'


class Lines(text_files.Lines):
    """A text of any size that takes no memory: the same 4 MiB of lines again and again."""

    def __init__(self, size: int) -> None:
        lines = []
        length = number = 0
        while length < 4 * MIB:
            said = {
                "n": number,
                "day": f"2026-11-{number % 28 + 1:02}",
                "price": number / 8,
                "of": {"word": number % 7},
            }
            if number % 3:
                said["level"] = f'a "word" {number % 11}'
            lines.append(json.dumps(said).encode() + b"\n")
            length += len(lines[-1])
            number = number * 31 % 999_983 + 1
        self._unit = b"".join(lines)
        self.size = size
