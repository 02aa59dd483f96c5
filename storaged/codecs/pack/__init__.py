"""Packs: many objects in one blob, a tar in seekable zstd that `tar --zstd -x` and `bsdtar -x` restore."""

from storaged.codecs.pack.form import PACK, Pack
from storaged.codecs.pack.member import NAME_BYTES, PART_BYTES, Listed, Member, NotPackable, why_not
from storaged.codecs.pack.packer import HELD, LEVEL, Packed, Packer
from storaged.codecs.zstd import Frames

__all__ = [
    "HELD",
    "LEVEL",
    "NAME_BYTES",
    "PACK",
    "PART_BYTES",
    "Frames",
    "Listed",
    "Member",
    "NotPackable",
    "Pack",
    "Packed",
    "Packer",
    "why_not",
]
