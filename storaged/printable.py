"""Text that users or stores chose, shown: nothing of it can move a cursor, colour, turn around or forge a line."""

from __future__ import annotations

import re
from typing import Final

# C0 and C1 controls, line and paragraph separators, bidirectional overrides, lone surrogates: all can forge a line.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with everything escaped that could move the cursor, colour the terminal or look like another line."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)
