"""Containers of virtual chunks: what `vcc://NAME/` stands for in an Icechunk repository, by its saved configuration.

Version 2 of the format has that in the file `repo`, as FlexBuffers within FlatBuffers; version 1 in `config.yaml`. A
program may open the repository with containers of its own: those are written nowhere.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from storaged.codecs.base import Content
from storaged.work.scan.icechunk import CONTAINER, REPOSITORY, Buffer, bodied
from storaged.work.scan.kerchunk import NoReferences, Unfollowed

FILES: Final = ("repo", "config.yaml")  # that may have them, in the folder of a repository
LARGEST_YAML: Final = 1 << 20  # bytes

_CONFIG: Final = 9  # of a repository: place of the field in its table, as repo.fbs numbers them
_KEY: Final = b"virtual_chunk_containers"
_TEXT, _MAP = 5, 9  # types of FlexBuffers

Containers = Mapping[str, str]  # by name, the URL that locations in it begin with


def repository_of(key: str) -> str:
    """The folder of the repository that a manifest is in."""
    return key.rpartition("manifests/")[0]


def digest_of(containers: Containers, roots: str) -> str:
    """What a manifest that names containers was read with, beside the roots there were."""
    told = "\n".join(f"{name} {url}" for name, url in sorted(containers.items()))
    return hashlib.sha256(f"{roots}\n{told}".encode(errors="surrogateescape")).hexdigest()[:16]


def located(location: str, containers: Containers) -> str:
    """Where `vcc://NAME/...` is. Raises Unfollowed."""
    name, _, rest = location.removeprefix(CONTAINER).partition("/")
    if name not in containers:
        raise Unfollowed(f"it names files by a container, {name!r}, which its repository's saved configuration lacks")
    return containers[name] + rest


def read(name: str, content: Content) -> dict[str, str]:
    """The containers in one of FILES. Raises Unfollowed, and what `content` raises."""
    try:
        found = _of_yaml(content) if name == FILES[1] else _of_repository(content)
        return {name: url for name, url in found if name and url}
    except (struct.error, IndexError, ValueError, NoReferences, yaml.YAMLError) as error:
        raise Unfollowed(f"{name} of its repository is damaged: {error}") from error


def _of_yaml(content: Content) -> Iterator[tuple[str, str]]:
    if content.size > LARGEST_YAML:
        raise Unfollowed(f"config.yaml of its repository has more than {LARGEST_YAML >> 20} MiB")
    told: Any = yaml.load(content.read_at(0, content.size), Loader=yaml.BaseLoader)  # noqa: S506 (texts, lists, maps)
    containers = told.get(_KEY.decode()) if isinstance(told, dict) else None
    for each in containers.values() if isinstance(containers, dict) else ():
        name, url = (each.get("name"), each.get("url_prefix")) if isinstance(each, dict) else (None, None)
        if isinstance(name, str) and isinstance(url, str) and name != "null":
            yield name, url


def _of_repository(content: Content) -> Iterator[tuple[str, str]]:
    buffer = Buffer(bodied(content, REPOSITORY))
    config = buffer.bytes_at(buffer.pointed(0), _CONFIG)
    if not config:
        return
    data = _Flexible(config)
    for each in data.map_in(data.root(), _KEY).values():
        told = data.entries(each)
        yield data.text(told.get(b"name")), data.text(told.get(b"url_prefix"))


_At = tuple[int, int, int]  # type, where it begins, and how many bytes its lengths and offsets have


class _Flexible:
    """Maps and texts of FlexBuffers. An offset leads back from where it stands; behind the values of a map are their
    types, before them the way to its keys. Raises struct.error, IndexError for what leads out of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def root(self) -> _At:
        width, packed = self._data[-1], self._data[-2]
        return self._value(len(self._data) - 2 - width, width, packed)

    def map_in(self, at: _At, key: bytes) -> dict[bytes, _At]:
        """The entries of a map within a map; none: it is not there."""
        return self.entries(self.entries(at).get(key))

    def entries(self, at: _At | None) -> dict[bytes, _At]:
        """What a map has by its keys; of what is no map nothing."""
        if at is None or at[0] != _MAP:
            return {}
        _, start, width = at
        count = self._number(start - width, width)
        keys_at = start - 3 * width
        keys, step = keys_at - self._number(keys_at, width), self._number(start - 2 * width, width)
        types = start + count * width
        found = {}
        for n in range(count):
            place = keys + n * step
            begin = place - self._number(place, step)
            key = self._data[begin : self._data.index(b"\0", begin)]
            found[key] = self._value(start + n * width, width, self._data[types + n])
        return found

    def text(self, at: _At | None) -> str:
        """A text; empty: it is none."""
        if at is None or at[0] != _TEXT:
            return ""
        _, start, width = at
        return self._data[start : start + self._number(start - width, width)].decode()

    def _value(self, place: int, width: int, packed: int) -> _At:
        kind = packed >> 2
        if kind not in (_TEXT, _MAP):
            return kind, place, width
        return kind, place - self._number(place, width), 1 << (packed & 3)

    def _number(self, at: int, width: int) -> int:
        if at < 0 or width not in (1, 2, 4, 8) or at + width > len(self._data):
            raise struct.error("it leads out of what there is")
        return int.from_bytes(self._data[at : at + width], "little")
