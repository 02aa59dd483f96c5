"""How a place is to be opened: what its URL does not say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from storaged.model import DEFAULT_CLASS


@dataclass(frozen=True, slots=True)
class Access:
    """How a bucket is reached. None: what the store's own client would take (environment, profile, instance role)."""

    endpoint: str | None = None  # URL of a server that is not the cloud's own
    region: str | None = None
    profile: str | None = None  # of ~/.aws/config
    path_style: bool = False  # the bucket's name in the path instead of the host


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What is seen in a local place and belongs to another one: directories by (device, inode), and by their keys."""

    inodes: frozenset[tuple[int, int]] = frozenset()
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Opening:
    """What opening a place needs besides its URL."""

    excluded: frozenset[tuple[int, int]] = frozenset()  # (device, inode) pairs that are never listed
    storage_class: str = DEFAULT_CLASS  # of the blobs that are made there
    access: Access = Access()
    follow: bool = False  # the symbolic links on the way to a local place, once
    bare: bool = False  # a local root carries its claim itself, and our folder only while something is in it
    elsewhere: Callable[[], Elsewhere] = Elsewhere  # asked at each listing: anything may be mounted at any time
