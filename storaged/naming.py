"""Keys that a person can still read, and programs too: `<dataset>/<object name>.<attempt, shortened><suffixes>`.

The attempt stands before the name's own suffix, which the codec's follows: `a.csv` is `a.<attempt>.csv.zst`, so that
whoever goes by the end of a name infers what it is. Earlier versions put it behind: `a.csv.<attempt>.zst`. Keys are
never taken apart: the catalog holds a blob's, and the blob says whose it is.

Segments that stores mangle or refuse are percent-escaped; what is over a store's limit is cut and ends in digest
characters, because the catalog (and the blob itself) holds the exact name.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

OWN: Final = ".storaged"  # the segment that begins a store's own names
MAX_KEY_BYTES: Final = 768  # of the 1,024 that S3 takes for a whole key; the rest is for the tier's own prefix
MAX_SEGMENT_BYTES: Final = 255  # ext4, xfs, btrfs: one name
SHORT_ATTEMPT: Final = 16  # of 32 hex characters: 64 random bits keep keys of one object apart
_DIGEST: Final = 16
_SUFFIX: Final = re.compile(r"\.(?![0-9]+\Z)[A-Za-z0-9_-]{1,16}\Z")  # of digits alone it is a number: app.log.1
COMPRESSED: Final = frozenset(("bz2", "gz", "lz4", "xz", "zst"))  # extensions behind that of what is compressed
_AROUND: Final = COMPRESSED | frozenset(  # of all that is wrapped around another format
    ("br", "enc", "gpg", "lz", "lzma", "lzo", "snappy", "sz", "z", "zstd")
)
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f\\{}^%`\[\]"<>~#|*?:]')


def is_marker(key: str) -> bool:
    """Whether it lies in a `.storaged` directory, at whatever depth: of this place, or of one that is mounted or was
    copied into it. No object is there."""
    return OWN in key and OWN in key.split("/")


def named_by(attempt: str, key: str) -> bool:
    """Whether a key carries the attempt's id, so that nobody but this attempt writes to it."""
    return attempt[:SHORT_ATTEMPT] in key


def _escape(segment: str) -> str:
    if segment in ("", ".", ".."):
        return "%2E" * len(segment) or "%00"
    if segment == OWN:
        return "%2Estoraged"
    return _UNSAFE.sub(lambda m: f"%{ord(m[0]):02X}", segment)


def _cut(text: str, limit: int, whole: str) -> str:
    """At most `limit` UTF-8 bytes; a cut text ends in digest characters of `whole`."""
    data = text.encode()
    if len(data) <= limit:
        return text
    tail = "-" + hashlib.sha256(whole.encode()).hexdigest()[:_DIGEST]
    return data[: limit - len(tail)].decode(errors="ignore") + tail


def _own_suffix(segment: str) -> str:
    """By what programs know a file's format: `.csv`, `.csv.gz`, `.tar.gz`; "" where there is nothing of the kind."""
    found = _suffix(segment)
    if found[1:].lower() in _AROUND:
        found = _suffix(segment.removesuffix(found)) + found
    return found


def _suffix(segment: str) -> str:
    found = _SUFFIX.search(segment)
    return found[0] if found and segment[: found.start()].strip(".") else ""


def blob_key(dataset: str, name: str, attempt: str, suffix: str) -> str:
    """The key of one attempt's blob: unique by the attempt, readable, at most 768 bytes, segments at most 255."""
    *folders, last = [_escape(s) for s in f"{dataset}/{name}".split("/")]
    own = _own_suffix(last)
    last = last.removesuffix(own)
    end = f".{attempt[:SHORT_ATTEMPT]}{own}{suffix}"
    segments = [_cut(s, MAX_SEGMENT_BYTES, name) for s in folders]
    segments.append(_cut(last, MAX_SEGMENT_BYTES - len(end), name))
    key = "/".join(segments)
    if len(key.encode()) + len(end) > MAX_KEY_BYTES:  # too deep: one cut over the whole path, on segment borders
        head = _cut(key, MAX_KEY_BYTES - len(end) - MAX_SEGMENT_BYTES, name).rsplit("/", 1)[0]
        key = (
            f"{head}/{_cut(last, MAX_SEGMENT_BYTES - len(end) - _DIGEST - 1, name)}"
            + "-"
            + hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
        )
    return key + end
