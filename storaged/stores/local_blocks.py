"""What a file takes on its filesystem: less than its size where it is sparse, compressed or has more than one name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from storaged.mounts import mounts

_BLOCK: Final = 4096  # up to so much, what blocks tell is how a filesystem keeps small files
_UNIT: Final = 512  # bytes that st_blocks counts, whatever a filesystem's blocks are (stat(2))


def allocated(found: os.stat_result) -> int | None:
    """Bytes that a regular file takes, its names sharing them equally; None: its size. Blocks that are begun count for
    nothing."""
    size, blocks, links = found.st_size, found.st_blocks, found.st_nlink
    taken = min(size, blocks * _UNIT) if size > _BLOCK and (blocks or _tells(found.st_dev)) else size
    return taken // links if taken // links < size else None


def all_allocated(found: Sequence[os.stat_result]) -> Sequence[int | None] | None:
    """The same of many; None: of each its size."""
    if any(one.st_nlink > 1 or one.st_blocks * _UNIT < one.st_size for one in found):
        return [allocated(one) for one in found]
    return None


def _tells(device: int) -> bool:
    """Whether no block means that there is none: programs that are filesystems often tell of none at all."""
    number = f"{os.major(device)}:{os.minor(device)}"
    kinds = {mount.kind for mount in mounts() if mount.device == number}
    return not any(kind == "fuse" or kind.startswith("fuse.") for kind in kinds)
