"""From a URL or path that somebody wrote down to the objects that it may mean: of every dataset whose root it is below.

A local path counts as it is written and with its links resolved, and so does a root. What has no scheme and is not
absolute means what its reader is told: it is looked for beside the file that names it, below that file's root, and as
bucket and key.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, urlsplit

from storaged.catalog.references import NamedObject
from storaged.work.context import Context, local_path

THROUGH: Final = "storaged://"  # read through us: by an object's name, wherever it is
_FOLLOWED: Final = "containers"  # what names are followed by, so that older ones are read again
_BUCKETS: Final = ("s3://", "s3a://", "s3n://")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_AWS_HOST: Final = re.compile(r"(?:(?P<bucket>.+)\.)?s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?")


class Roots:
    """The roots of the datasets, as they are configured. `ids`: the catalog's numbers of the datasets."""

    def __init__(self, context: Context, ids: Mapping[str, int]) -> None:
        self._local: list[tuple[str, int]] = []
        self._other: list[tuple[str, int]] = []
        self._servers: dict[str, None] = {}  # of what is reached by path: https://minio.example.org:9000
        self._of: dict[int, str] = {}
        for name, dataset in sorted(context.datasets.items()):
            if name not in ids:
                continue
            number, url = ids[name], dataset.root.rstrip("/")
            self._of[number] = f"{url}/"
            path = local_path(dataset.root)
            if path is None:
                self._other.append((f"{url}/", number))
                if (endpoint := context.settings.access(dataset.root).endpoint) is not None:
                    self._servers[endpoint.rstrip("/")] = None
            else:
                for way in dict.fromkeys((str(path), os.path.realpath(path))):
                    self._local.append((f"{way.rstrip('/')}/", number))
        told = "\n".join((_FOLLOWED, *(f"{number} {root}" for root, number in (*self._local, *self._other))))
        self.digest: Final = hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:16]
        self._real_folder = lru_cache(maxsize=10_000)(os.path.realpath)

    def targets(self, url: str, dataset_id: int, key: str) -> Iterator[NamedObject]:
        """What a file at this key of a dataset means by this; nothing: no object of any dataset."""
        for number, name, guess in self._found(url.rpartition("::")[2], dataset_id, key):
            if name and not name.endswith("/") and "\0" not in name and _is_text(name):
                yield NamedObject(number, name, guess)

    def _found(self, url: str, dataset_id: int, key: str) -> Iterable[tuple[int, str, bool]]:
        if url.startswith("/"):
            return ((*found, False) for found in self._at_path(url))
        if url.startswith("file:"):
            path = "/" + url.removeprefix("file:").removeprefix("//").removeprefix("localhost").lstrip("/")
            ways = dict.fromkeys((path, unquote(path)))
            return ((*found, False) for way in ways for found in self._at_path(way))
        if url.startswith(_BUCKETS):
            return ((*found, False) for found in self._below(f"s3://{url.partition('://')[2]}"))
        if url.startswith(("https://", "http://")):
            return ((*found, False) for found in self._at_server(url))
        if _SCHEME.match(url):
            return ((*found, False) for found in self._below(url))
        return ((*found, True) for found in self._guessed(url, dataset_id, key))

    def _at_path(self, path: str) -> Iterator[tuple[int, str]]:
        plain = os.path.normpath(path)
        folder, _, name = plain.rpartition("/")
        ways = {plain: None, os.path.join(self._real_folder(folder or "/"), name): None}
        if os.path.islink(plain):
            ways[os.path.realpath(plain)] = None
        for way in ways:
            yield from ((number, way[len(root) :]) for root, number in self._local if way.startswith(root))

    def _below(self, url: str) -> Iterator[tuple[int, str]]:
        yield from ((number, url[len(root) :]) for root, number in self._other if url.startswith(root))

    def _at_server(self, url: str) -> Iterator[tuple[int, str]]:
        parts = urlsplit(url)
        path = unquote(parts.path).lstrip("/")
        if aws := _AWS_HOST.fullmatch(parts.hostname or ""):
            yield from self._below(f"s3://{aws['bucket']}/{path}" if aws["bucket"] else f"s3://{path}")
        for server in self._servers:
            if url.startswith(f"{server}/"):
                yield from self._below(f"s3://{unquote(urlsplit(url[len(server) :]).path).lstrip('/')}")

    def _guessed(self, path: str, dataset_id: int, key: str) -> Iterator[tuple[int, str]]:
        root, folder = self._of.get(dataset_id), key[: key.rfind("/") + 1]
        if root is not None:
            for below in dict.fromkeys((folder, "")):
                way = os.path.normpath(f"/{below}{path}")[1:]
                yield dataset_id, way
                if root.startswith("file://"):
                    yield from self._at_path(os.path.normpath(f"{root.removeprefix('file://')}{below}{path}"))
        yield from self._below(f"s3://{path}")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
