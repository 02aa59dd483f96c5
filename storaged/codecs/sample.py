"""What zstd would gain, told from a small sample of the content before anything is written."""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from storaged.codecs.base import Content, Sample

WHOLE: Final = 1024 * 1024  # bytes of content up to which all of it is the sample, as one frame; of more, as many
SLICES: Final = 4  # in so many slices of one size,
LARGE: Final = 16 * 1024 * 1024  # or, of content of more bytes than this,
LARGE_SLICES: Final = 8  # in so many

LEVELS = (3, 9, 19)  # what a level of None chooses from
NOTABLE = 0.10  # a level is taken if its sample is smaller than the one before by at least this share
SLOW_LEVEL = 19  # some 2 MB/s: only where the content fits in one slow second
SLOW_AT_MOST = 1024 * 1024  # bytes of content

OVERHEAD = 600  # bytes a blob of ours holds besides the compressed content: origin, size and digest, seek table

GZIP = "gzip"
ENCRYPTED = "it is encrypted"  # how the reason begins

_PREFIXES = (
    (GZIP, b"\x1f\x8b\x08"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("bzip2", b"BZh"),
    ("xz", b"\xfd7zXZ\x00"),
    ("lz4", b"\x04\x22\x4d\x18"),
    ("snappy", b"\xff\x06\x00\x00sNaPpY"),
    ("zip", b"PK\x03\x04"),  # also docx, xlsx, jar, npz, whl, apk
    ("7z", b"7z\xbc\xaf\x27\x1c"),
    ("rar", b"Rar!\x1a\x07"),
    ("png", b"\x89PNG\r\n\x1a\n"),
    ("jpeg", b"\xff\xd8\xff"),
)
_ENCRYPTED = (
    ("age", b"age-encryption.org/v1\n"),
    ("openssl enc", b"Salted__"),
    ("rclone crypt", b"RCLONE\x00\x00"),
    ("git-crypt", b"\x00GITCRYPT\x00"),
)
_PARQUET, _ORC = b"PAR1", b"ORC"
_PACKET = 32  # bytes; no message of OpenPGP is shorter
_PUBLIC_KEY = (1, 2, 16, 18, 25, 26)  # algorithms that session keys are encrypted by
_AVRO = b"Obj\x01"
_AVRO_HEADER = 64 * 1024  # bytes in which a header names its codec, after a schema of any sane length
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)  # zstd's skippable frames: our own blobs of format version 1 begin with one


def gain(source: Content, *, level: int | None = None) -> Sample:
    """What zstd would make of content of which at most 1 MiB is read: the beginning, and slices spread over the rest.

    Each slice stands for what is nearest to it, and the beginning for itself alone: headers and vocabularies are unlike
    what follows. A format that the beginning shows to be compressed, or encrypted, ends it there. Level None chooses:
    start at 3; go on to 9, then to 19, while the sample shrinks by another tenth each time; 19 only for content of at
    most 1 MiB.
    """
    ratio, chosen, recognised, reason = _tried(source, level)
    return Sample(ratio, chosen, recognised, reason)


def choose_level(source: Content) -> int:
    """The level that `gain` chooses."""
    return _tried(source, None)[1]


def _tried(source: Content, level: int | None) -> tuple[float, int, str, str]:
    """Ratio, level, the compressed format that it is in already, and why it is not taken."""
    size = source.size
    lowest = LEVELS[0] if level is None else level
    head = source.read_at(0, slice_of(size)) if size else b""
    recognised, program = _recognise(head, source), _encrypts(head)
    if recognised or program or not head:
        return 1.0, lowest, recognised, f"{ENCRYPTED}, by {program}" if program else ""
    slices = [head, *(source.read_at(at, len(head)) for at in _spread(size))]
    best = lowest
    stored = _stored(slices, size, best)
    for candidate in LEVELS[1:] if level is None else ():
        if candidate == SLOW_LEVEL and size > SLOW_AT_MOST:
            break
        tried = _stored(slices, size, candidate)
        if tried > stored * (1 - NOTABLE):
            break
        best, stored = candidate, tried
    return (stored + OVERHEAD) / size, best, "", ""


def gets(size: int) -> int:
    """Slices that are read of content of so many bytes that is in no compressed format."""
    return LARGE_SLICES if size > LARGE else SLICES if size > WHOLE else 1 if size else 0


def slice_of(size: int) -> int:
    """Bytes of each."""
    return WHOLE // gets(size) if size > WHOLE else size


def _spread(size: int) -> range:
    """Where slices behind the beginning begin: in the middle of equal parts of the rest."""
    length, count = slice_of(size), gets(size) - 1
    if not count:
        return range(0)
    part = (size - length) // count
    first = length + (part - length) // 2
    return range(first, first + count * part, part)


def _stored(slices: list[bytes], size: int, level: int) -> float:
    """Bytes that all of the content would take. Slices follow one another as in one of our frames, which hold 1 MiB."""
    stream = _compressor(level).compressobj(size=sum(map(len, slices)))
    told = [len(stream.compress(s)) + len(stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)) for s in slices[:-1]]
    told.append(len(stream.compress(slices[-1])) + len(stream.flush()))
    rest = sum(map(len, slices[1:]))
    return told[0] + (sum(told[1:]) / rest * (size - len(slices[0])) if rest else 0)


class _PerThread(threading.local):
    """zstd contexts; they are not thread-safe and costly to make."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}


_per_thread = _PerThread()


def _compressor(level: int) -> zstandard.ZstdCompressor:
    found = _per_thread.compressors.get(level)
    if found is None:
        found = _per_thread.compressors[level] = zstandard.ZstdCompressor(level=level)
    return found


def _recognise(head: bytes, source: Content) -> str:
    """The compressed format that the content is in, or "". Parquet and ORC compress their columns."""
    for name, prefix in _PREFIXES:
        if head.startswith(prefix):
            return name
    if int.from_bytes(head[:4], "little") in _SKIPPABLE:
        return "zstd"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return "mp4"
    if head.startswith((_PARQUET, _ORC)):  # which a text may begin with, too
        tail = source.read_at(max(source.size - 4, 0), min(source.size, 4))
        if head[:4] == tail == _PARQUET:
            return "parquet"
        if head[:3] == tail[:3] == _ORC:
            return "orc"
    if head[:4] == _AVRO:
        return _avro(head[:_AVRO_HEADER])
    return ""


def _encrypts(head: bytes) -> str:
    """The program that shows to have encrypted it, or "". What it wrote as text, for mail, is as dense as any text."""
    return next((name for name, prefix in _ENCRYPTED if head.startswith(prefix)), "OpenPGP" if _openpgp(head) else "")


def _openpgp(head: bytes) -> bool:
    """Whether an OpenPGP message begins so (RFC 9580): a packet with a session key for somebody (tag 1, version 3 or 6,
    8 bytes that name a key, an algorithm) or for a password (tag 3, version 4 to 6, a cipher, how its key is made)."""
    if len(head) < _PACKET or not head[0] & 0x80:
        return False
    if head[0] & 0x40:  # a tag of six bits, and a length of 1, 2 or 5 bytes
        tag, begins = head[0] & 0x3F, 2 if head[1] < 192 else 3 if head[1] < 224 else 6
    elif head[0] & 3 == 3:  # a length that is not told: no such packet has it
        return False
    else:
        tag, begins = head[0] >> 2 & 0xF, 2 + (0, 1, 3)[head[0] & 3]
    version = head[begins]
    if tag == 1:
        return version == 6 or (version == 3 and head[begins + 9] in _PUBLIC_KEY)
    return tag == 3 and (
        version in (5, 6) or (version == 4 and head[begins + 1] < 14 and head[begins + 2] in (0, 1, 3, 4))
    )


def _avro(header: bytes) -> str:
    """Avro names its codec in the header as a length-prefixed value after the key; "null" (or none) is plain."""
    _, key, after = header.partition(b"avro.codec")
    return "avro" if key and not after[1:].startswith(b"null") else ""
