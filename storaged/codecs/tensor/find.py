"""Which format of arrays a content is in, and where they are in it."""

from __future__ import annotations

from typing import Final

from storaged.codecs.base import Content
from storaged.codecs.tensor import gguf, npy, safetensors, zips
from storaged.codecs.tensor.layout import MOST, Layout, exactly
from storaged.errors import NotTaken

NO_ARRAYS: Final = "it is no file of tensors or arrays"
_HEAD: Final = 16


def layout(source: Content, most: int = MOST) -> Layout:
    """Of an archive of many members at least its `most` largest ones. Raises NotTaken, with the reason."""
    head = exactly(source, 0, min(source.size, _HEAD))
    if head.startswith(npy.MAGIC):
        return npy.layout(source)
    if head.startswith(gguf.MAGIC):
        return gguf.layout(source)
    if head.startswith(zips.MAGIC):
        return zips.layout(source, most)
    if safetensors.begins(head, source.size):
        return safetensors.layout(source)
    raise NotTaken(NO_ARRAYS)
