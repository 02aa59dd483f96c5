"""Watching a copy in progress: the unfinished parts that a local tier keeps apart until they are whole."""

from __future__ import annotations

from pathlib import Path


class Parts:
    """The files in a directory of unfinished parts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, int] = {}

    def growing(self) -> bool:
        """Whether a part has more bytes than when it was first seen with any: a copy is under way."""
        return any(size > self._seen.setdefault(name, size) for name, size in self._sizes().items())

    def largest(self) -> int:
        """Bytes of the largest part; 0 if there is none."""
        return max(self._sizes().values(), default=0)

    def _sizes(self) -> dict[str, int]:
        sizes = {}
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            try:
                sizes[path.name] = path.stat().st_size
            except FileNotFoundError:  # finished or discarded meanwhile
                continue
        return {name: size for name, size in sizes.items() if size}
