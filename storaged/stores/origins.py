"""How an Origin is written beside an object's bytes: short ASCII, since xattrs and object metadata take little else."""

from __future__ import annotations

import dataclasses
import json
from urllib.parse import quote, unquote

import xxhash

from storaged.model import Origin

LONG_NAME = "xxh3-128:"  # what `object` starts with where the name itself did not fit: the hex digest of its UTF-8


def origin_text(origin: Origin) -> str:
    """One line of JSON in ASCII; the object's name is percent-encoded in it."""
    fields = dataclasses.asdict(origin) | {"object": quote(origin.object)}
    return json.dumps(fields, separators=(",", ":"))


def shortened(origin: Origin) -> Origin:
    """The same with the digest of the object's name instead of the name."""
    return dataclasses.replace(origin, object=LONG_NAME + xxhash.xxh3_128_hexdigest(origin.object.encode()))


def parse_origin(text: str | bytes) -> Origin | None:
    """What `origin_text` wrote, or None if this is something else. Fields of a later version are left out."""
    known = {field.name for field in dataclasses.fields(Origin)}
    try:
        fields = {name: value for name, value in json.loads(text).items() if name in known}
        return Origin(**fields | {"object": unquote(fields["object"])})
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
