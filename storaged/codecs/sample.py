"""What zstd would gain, told from a small sample of the content before anything is written."""

from __future__ import annotations

import threading

import zstandard

from storaged.codecs.base import Content, Sample

SLICE = 256 * 1024  # bytes; one each from the beginning, the middle and the end

LEVELS = (3, 9, 19)  # what a level of None chooses from
NOTABLE = 0.10  # a level is taken if its sample is smaller than the one before by at least this share
SLOW_LEVEL = 19  # some 2 MB/s: only where the content fits in one slow second
SLOW_AT_MOST = 1024 * 1024  # bytes of content

OVERHEAD = 600  # bytes a blob of ours holds besides the compressed content: origin, size and digest, seek table

GZIP = "gzip"

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
_AVRO = b"Obj\x01"
_AVRO_HEADER = 64 * 1024  # bytes in which a header names its codec, after a schema of any sane length
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)  # zstd's skippable frames: our own blobs of format version 1 begin with one


def gain(source: Content, *, level: int | None = None) -> Sample:
    """What zstd would make of content of which at most three slices are read.

    Level None chooses: start at 3; go on to 9, then to 19, while the sample shrinks by another tenth each time; 19 only
    for content of at most 1 MiB. Our frames hold 1 MiB, so the three slices are compressed as one.
    """
    ratio, chosen, recognised = _tried(source, level)
    return Sample(ratio, chosen, recognised)


def choose_level(source: Content) -> int:
    """The level that `gain` chooses."""
    return _tried(source, None)[1]


def _tried(source: Content, level: int | None) -> tuple[float, int, str]:
    """Ratio, level, and the compressed format that it is in already."""
    size = source.size
    slices = _slices(source)
    recognised = _recognise(slices)
    sample = b"".join(slices)
    if recognised or not sample:
        return 1.0, LEVELS[0] if level is None else level, recognised
    levels = LEVELS if level is None else (level,)
    best = levels[0]
    stored = _compressed(sample, best)
    for candidate in levels[1:]:
        if candidate == SLOW_LEVEL and size > SLOW_AT_MOST:
            break
        tried = _compressed(sample, candidate)
        if tried > stored * (1 - NOTABLE):
            break
        best, stored = candidate, tried
    return stored / len(sample) + OVERHEAD / size, best, ""


def _slices(source: Content) -> tuple[bytes, ...]:
    size = source.size
    if size <= 3 * SLICE:
        return (source.read_at(0, size),)
    return tuple(source.read_at(at, SLICE) for at in (0, (size - SLICE) // 2, size - SLICE))


class _PerThread(threading.local):
    """zstd contexts; they are not thread-safe and costly to make."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}


_per_thread = _PerThread()


def _compressed(sample: bytes, level: int) -> int:
    compressor = _per_thread.compressors.get(level)
    if compressor is None:
        compressor = _per_thread.compressors[level] = zstandard.ZstdCompressor(level=level)
    return len(compressor.compress(sample))


def _recognise(slices: tuple[bytes, ...]) -> str:
    """The compressed format that the content is in, or "". Parquet and ORC compress their columns."""
    head, tail = slices[0], slices[-1]
    for name, prefix in _PREFIXES:
        if head.startswith(prefix):
            return name
    if int.from_bytes(head[:4], "little") in _SKIPPABLE:
        return "zstd"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return "mp4"
    if head[:4] == tail[-4:] == b"PAR1":
        return "parquet"
    if head[:3] == tail[-4:-1] == b"ORC":
        return "orc"
    if head[:4] == _AVRO:
        return _avro(head[:_AVRO_HEADER])
    return ""


def _avro(header: bytes) -> str:
    """Avro names its codec in the header as a length-prefixed value after the key; "null" (or none) is plain."""
    _, key, after = header.partition(b"avro.codec")
    return "avro" if key and not after[1:].startswith(b"null") else ""
