"""What an object may lose when it goes back to its original key: the names that a policy's `allow_loss` may say."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

LOSSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # of files
        "owner": "user and group of a file that is not ours",
        "mode": "permissions of a file",
        "links": "being one file under several names",
        "xattr": "extended attributes of a file",
        "mtime": "the time when it was written",
        # of objects in buckets
        "acl": "grants to others",
        "retention": "a retention lock",
        "legal-hold": "a legal hold",
        "meta": "user metadata",
        "missing-meta": "user metadata that the store does not tell",
        "tag": "tags",
        "content-type": "Content-Type",
        "content-encoding": "Content-Encoding",
        "content-language": "Content-Language",
        "content-disposition": "Content-Disposition",
        "cache-control": "Cache-Control",
        "expires": "Expires",
        "website-redirect": "the website redirect",
        "sse": "encryption by the store",
        "sse-kms-key": "the KMS key of that encryption",
        "bucket-key": "the bucket key of that encryption",
    }
)

# a bucket sets the time, and ours is beside it; how many blocks a file takes is the filesystem's
_SET_ANEW: Final = frozenset({"last-modified", "meta:mtime", "allocated"})
_OF_KIND: Final[Mapping[str, str]] = MappingProxyType({"uid": "owner", "gid": "owner", "mtime_ns": "mtime"})
_LONG: Final = 60  # characters of a value that is repeated


def differences(before: Mapping[str, str], after: Mapping[str, str], lost: Mapping[str, str]) -> list[str]:
    """What an object that came back has otherwise than when it left, each in words. `lost`: what its place cannot give
    back (see `Store.not_restorable`), which was said when it left. What came from another kind of place is not
    compared: files and objects of buckets have nothing in common that is told alike."""
    if not before or ("mode" in before) != ("mode" in after):
        return []
    found = []
    for name in sorted((before.keys() | after.keys()) - _SET_ANEW):
        kind = name.partition(":")[0]
        if before.get(name) != after.get(name) and not {_OF_KIND.get(name, kind), name} & lost.keys():
            found.append(f"{name} was {_value(before.get(name))} and is {_value(after.get(name))}")
    return found


def _value(told: str | None) -> str:
    if told is None:
        return "not there"
    return repr(told) if len(told) <= _LONG else f"{told[:_LONG]!r}…"
