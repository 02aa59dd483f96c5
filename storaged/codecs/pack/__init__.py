"""Packs: many objects in one blob, a tar in seekable zstd that `tar --zstd -x` and `bsdtar -x` restore."""

from storaged.codecs.pack.form import PACK, Pack
from storaged.codecs.pack.member import Listed, Member, why_not
from storaged.codecs.pack.packer import HELD, Packed, Packer

__all__ = ["HELD", "PACK", "Listed", "Member", "Pack", "Packed", "Packer", "why_not"]
