"""What an object's name tells: its format and its partition values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache


def format_of(key: str) -> str:
    """The format that a name tells: its last extension in lower case, before a compression suffix; "" for none."""
    parts = key[key.rfind("/") + 1 :].lower().split(".")
    if len(parts) > 2 and parts[-1] in ("gz", "zst", "bz2", "xz", "lz4"):
        parts.pop()
    return parts[-1] if len(parts) > 1 and parts[-1].isalnum() and len(parts[-1]) <= 10 else ""


def partition_reader(pattern: str | None) -> Callable[[str], str | None]:
    """A function from a key to its partition values as a JSON object, for a pattern such as dt={dt}/hour={hour}."""
    if pattern is None:
        return lambda _key: None
    parts = re.split(r"\{(\w+)\}", pattern)
    text = "".join(f"(?P<{part}>[^/]*)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    matcher = re.compile(rf"(?:^|/){text}(?=/)")

    @lru_cache(maxsize=1_000)  # keys come in order: one folder's values once
    def of_folder(folder: str) -> str | None:
        found = matcher.search(folder)
        return json.dumps(found.groupdict(), sort_keys=True) if found else None

    return lambda key: of_folder(key[: key.rfind("/") + 1])
