"""What a server may copy by itself from one of its places to another, so that no byte of it passes through us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from storaged.model import Origin


@dataclass(frozen=True, slots=True)
class CopySource:
    """A stored thing as its server names it, as it was when it was opened.

    `server`: equal where one server, by one address, may have both places. `key`: in full. `checksum`: what the server
    says of all its bytes, as `Store.checksum` does. `size` in bytes.
    """

    server: str
    bucket: str
    key: str
    etag: str
    version: str  # empty: it has none
    size: int
    checksum: str


class Copy(NamedTuple):
    """Of which thing a server is to make a new one, at which key; `origin` says whose attempt that is."""

    key: str
    origin: Origin
    source: CopySource
