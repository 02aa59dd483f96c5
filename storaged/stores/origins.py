"""How an Origin is written beside an object's bytes: short ASCII, since xattrs and object metadata take little else."""

from __future__ import annotations

import dataclasses
import json
from urllib.parse import quote, unquote

import xxhash

from storaged.model import Origin
from storaged.stores.base import Stat

_encode = json.JSONEncoder(separators=(",", ":")).encode  # made once: dumps makes one each time
LONG_NAME = "xxh3-128:"  # what `object` starts with where the name itself did not fit: the hex digest of its UTF-8


def origin_text(origin: Origin) -> str:
    """One line of JSON in ASCII; the object's name is percent-encoded in it."""
    return _encode(origin.told() | {"object": quote(origin.object)})


def text_within(origin: Origin, most: int) -> str:
    """The same in at most so many characters, if need be with the digest of the object's name."""
    text = origin_text(origin)
    return text if len(text) <= most else origin_text(shortened(origin))


def shortened(origin: Origin) -> Origin:
    """The same with the digest of the object's name instead of the name."""
    return dataclasses.replace(origin, object=LONG_NAME + xxhash.xxh3_128_hexdigest(origin.object.encode()))


def tells_of(origin: Origin | None, dataset: str, name: str) -> bool:
    """Whether an origin is of this very object (a copy or a rename of it keeps the origin of the first)."""
    if origin is None or origin.dataset != dataset:
        return False
    return origin.object in (name, LONG_NAME + xxhash.xxh3_128_hexdigest(name.encode()))


def left_by(attempt: str, origin: Origin | None, found: Stat) -> bool:
    """Whether what is stored is what `attempt` wrote, and nobody wrote into it since."""
    return origin is not None and origin.attempt == attempt and origin.mtime_us in (0, found.mtime_us)


def parse_origin(text: str | bytes) -> Origin | None:
    """What `origin_text` wrote, or None if this is something else. Fields of a later version are left out."""
    known = {field.name for field in dataclasses.fields(Origin)}
    try:
        fields = {name: value for name, value in json.loads(text).items() if name in known}
        return Origin(**fields | {"object": unquote(fields["object"])})
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
