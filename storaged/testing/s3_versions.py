"""ListObjectVersions as Amazon S3 answers it, in the place of moto's answer.

moto 5.2 takes any `key-marker` for the last key of a page before and leaves out the key behind it, judges what is
latest by times in milliseconds, and does not know `encoding-type=url`.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from moto.s3.models import FakeDeleteMarker

from storaged.testing.s3_requests import Answer, Request

_MOST: Final = 1_000


def list_object_versions(request: Request, bucket: Any) -> Answer:
    """One page: by key in byte order, of each key the newest first, folders where there is a delimiter."""
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker, version_marker = query.get("key-marker", ""), query.get("version-id-marker", "")
    limit = min(int(query.get("max-keys", _MOST)), _MOST)
    encoded = query.get("encoding-type") == "url"

    def text(value: str) -> str:
        return escape(quote_plus(value, safe="/*-._") if encoded else value)

    out: list[str] = []
    told: tuple[str, str] = ("", "")
    folders: list[str] = []
    more = False
    behind_marker = not version_marker
    for name in sorted(bucket.keys):
        if not name.startswith(prefix) or name < key_marker or (name == key_marker and not version_marker):
            continue
        folder = ""
        if delimiter and delimiter in name[len(prefix) :]:
            folder = name[: name.index(delimiter, len(prefix)) + len(delimiter)]
            if folder in folders or folder == key_marker:
                continue
        for n, version in enumerate(reversed(bucket.keys.getlist(name))):
            if name == key_marker and not behind_marker:
                behind_marker = version.version_id == version_marker
                continue
            if len(out) + len(folders) >= limit:
                more = True
                break
            if folder:
                folders.append(folder)
                told = (folder, "")
                break
            out.append(_version(version, text(name), latest=n == 0))
            told = (name, version.version_id)
        if more:
            break
    head = f"<Name>{bucket.name}</Name><Prefix>{text(prefix)}</Prefix><MaxKeys>{limit}</MaxKeys>"
    head += f"<KeyMarker>{text(key_marker)}</KeyMarker><IsTruncated>{str(more).lower()}</IsTruncated>"
    if encoded:
        head += "<EncodingType>url</EncodingType>"
    if more:
        head += f"<NextKeyMarker>{text(told[0])}</NextKeyMarker>"
        head += f"<NextVersionIdMarker>{told[1]}</NextVersionIdMarker>" if told[1] else ""
    tail = "".join(f"<CommonPrefixes><Prefix>{text(folder)}</Prefix></CommonPrefixes>" for folder in folders)
    body = f'<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{head}{"".join(out)}{tail}'
    return Answer(200, [("Content-Type", "application/xml")], f"{body}</ListVersionsResult>".encode())


def _version(version: Any, key: str, *, latest: bool) -> str:
    facts = f"<Key>{key}</Key><VersionId>{version.version_id}</VersionId><IsLatest>{str(latest).lower()}</IsLatest>"
    facts += f"<LastModified>{version.last_modified_ISO8601}</LastModified>"
    if isinstance(version, FakeDeleteMarker):
        return f"<DeleteMarker>{facts}</DeleteMarker>"
    facts += f"<ETag>{escape(version.etag)}</ETag><Size>{version.size}</Size>"
    return f"<Version>{facts}<StorageClass>{version.storage_class}</StorageClass></Version>"
