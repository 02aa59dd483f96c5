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
