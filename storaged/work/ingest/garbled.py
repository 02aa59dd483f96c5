"""Where so many lines of a log are malformed that it is not known any more what it tells."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

STRETCH: Final = 1_000  # lines in a row, of which only a share may be malformed


def garbled_at(malformed: NDArray[np.int64], lines: int, share: float) -> int | None:
    """The first of `malformed`, the places of malformed lines among so many, of a stretch (or of all, where they are
    fewer) in which they are more than `share` (0 to 1) of the lines. None: there is no such stretch."""
    stretch = min(lines, STRETCH)
    may = int(share * stretch)
    if len(malformed) <= may:
        return None
    near = malformed[may:] - malformed[: len(malformed) - may] < stretch
    return int(malformed[near.argmax()]) if near.any() else None
