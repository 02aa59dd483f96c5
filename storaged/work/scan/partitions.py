"""What an object's name tells: its format and its partition values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from storaged.naming import COMPRESSED

READ_AS: Final = 3  # another number for another meaning of names: formats and all values are then read anew
LONGEST: Final = 12  # characters of an extension: safetensors has 11
# What Hive, Spark, Impala and Arrow, and what Flink write where a row has no value.
NO_VALUE: Final = frozenset({"__HIVE_DEFAULT_PARTITION__", "__DEFAULT_PARTITION__", ""})


def format_of(key: str) -> str:
    """The format that a name tells: its last extension in lower case, before a compression suffix; "" for none."""
    parts = key[key.rfind("/") + 1 :].lower().split(".")
    if len(parts) > 2 and parts[-1] in COMPRESSED:
        parts.pop()
    return parts[-1] if len(parts) > 1 and parts[-1].isalnum() and len(parts[-1]) <= LONGEST else ""


def partition_reader(pattern: str | None) -> Callable[[str], str | None]:
    """A function from a key to its partition values as a JSON object, for a pattern such as dt={dt}/hour={hour}.

    What stands behind a = is read as Hive writes it: percent-encoded, and missing where it is one of NO_VALUE.
    """
    if pattern is None:
        return lambda _key: None
    parts = re.split(r"\{(\w+)\}", pattern)
    text = "".join(f"(?P<{part}>[^/]*)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    matcher = re.compile(rf"(?:^|/){text}(?=/)")
    hive = {part for before, part in zip(parts[::2], parts[1::2], strict=False) if before.endswith("=")}

    @lru_cache(maxsize=1_000)  # keys come in order: one folder's values once
    def of_folder(folder: str) -> str | None:
        found = matcher.search(folder)
        if not found:
            return None
        values = {
            key: _decoded(value) if key in hive else value
            for key, value in found.groupdict().items()
            if key not in hive or value not in NO_VALUE
        }
        return json.dumps(values, sort_keys=True) if values else None

    return lambda key: of_folder(key[: key.rfind("/") + 1])


def _decoded(value: str) -> str:
    """Without percent-encoding; as it stands where that is no text, or has a NUL, which no database takes."""
    try:
        decoded = unquote(value, errors="strict")
    except UnicodeDecodeError:
        return value
    return value if "\0" in decoded else decoded
