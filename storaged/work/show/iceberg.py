"""Which files of an Iceberg table no snapshot needs, by pyiceberg from its newest metadata file. Nothing is written.

Its files are read through us: wherever they are by now, and by our credentials.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from storaged.clock import DAY
from storaged.codecs.base import ContentFile
from storaged.work.content import Slice
from storaged.work.show.unneeded import Needs, NotRead, lacking_extra

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.table.metadata import TableMetadata

EXTRA: Final = "iceberg"
YOUNG: Final = 3 * DAY  # what remove_orphan_files leaves alone where it is not told otherwise: a write may be under way
_METADATA: Final = re.compile(r"metadata/(?:v?(?P<number>[0-9]+)[^/]*)\.metadata\.json(?:\.gz)?")

Opened = Callable[[str], Slice]


def needs(prefix: str, keys: Mapping[str, int], opened: Opened, key_of: Callable[[str], str], now_us: int) -> Needs:
    """What no snapshot of a table refers to, and what only snapshots do that are the head of no branch or tag.

    `keys`: the table's objects with their mtime (microseconds); `opened` reads one, `key_of` tells which one a location
    means (empty: none of this dataset). Raises NotRead, UsageError.
    """
    try:
        from pyiceberg.serializers import FromInputFile
    except ImportError as error:
        raise lacking_extra("pyiceberg", EXTRA) from error
    newest, *others = _newest(prefix, keys)
    reads, books = _files(opened, key_of), []
    try:
        for name in (newest, *others):
            books.append(FromInputFile.table_metadata(reads.new_input(name)))
            if key_of(f"{books[-1].location.rstrip('/')}/-") != f"{prefix}-":  # then what it names is not what is here
                raise NotRead(f"{name} says that the table is at {books[-1].location}: it was moved or copied")
        live, aged = _named(books, reads, key_of)
    except Exception as error:  # damaged books make it raise all kinds: EOFError, IndexError
        what = str(error) or type(error).__name__
        raise NotRead(f"pyiceberg does not read {' and '.join((newest, *others))}: {what}") from error
    named = {key for key in keys if key.startswith(f"{prefix}metadata/") and (".metadata.json" in key or "hint" in key)}
    unneeded = {key for key, at_us in keys.items() if at_us < now_us - YOUNG} - live - aged - named
    return Needs(
        frozenset(unneeded),
        frozenset(aged - live) & keys.keys(),
        seen=newest.removeprefix(prefix),
        how="remove_orphan_files in Spark; expire_snapshots for what only older snapshots need",
        risk="a writer that has not committed yet, or a catalog that is further than that metadata file, may need them",
    )


def _named(books: Sequence[TableMetadata], reads: FileIO, key_of: Callable[[str], str]) -> tuple[set[str], set[str]]:
    """What the snapshots refer to that are the head of a branch or tag, and what others do."""
    live, aged = set[str](), set[str]()
    snapshots = []
    for book in books:
        heads = {ref.snapshot_id for ref in book.refs.values()} | {book.current_snapshot_id}
        snapshots += [(one.snapshot_id in heads, one) for one in book.snapshots]
        live.update(key_of(one.statistics_path) for one in (*book.statistics, *book.partition_statistics))
    seen = set[str]()  # manifests that were read; those of heads come first
    for head, snapshot in sorted(snapshots, key=lambda one: not one[0]):
        named = live if head else aged
        named.add(key_of(snapshot.manifest_list))
        for manifest in snapshot.manifests(reads):
            named.add(key_of(manifest.manifest_path))
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(reads, discard_deleted=True)
                named.update(key_of(entry.data_file.file_path) for entry in entries)
    return live, aged


def _newest(prefix: str, keys: Mapping[str, int]) -> list[str]:
    """The metadata file with the highest number; then others that may be the table's instead: of the same number, since
    a commit that failed leaves its own, and the last that was written, since a table that was dropped leaves all of
    them to one that is made in the same folder and counts anew. Raises NotRead."""
    found = [
        (int(matched["number"]), keys[key], key)
        for key in keys
        if (matched := _METADATA.fullmatch(key.removeprefix(prefix))) is not None
    ]
    if not found:
        raise NotRead("it has no metadata file in this folder")
    number, _, newest = max(found)
    _, _, last = max(found, key=lambda one: (one[1], one[0], one[2]))
    return list(dict.fromkeys([newest, *sorted(key for n, _, key in found if n == number), last]))


def _files(opened: Opened, key_of: Callable[[str], str]) -> FileIO:
    """Files by their locations, or by their keys, read through us."""
    from pyiceberg.io import FileIO, InputFile

    class _Input(InputFile):
        def _key(self) -> str:
            return key_of(self.location) or self.location

        def __len__(self) -> int:
            with opened(self._key()) as content:
                return content.size

        def exists(self) -> bool:
            return bool(key_of(self.location))

        def open(self, seekable: bool = True) -> Any:
            content = opened(self._key())

            class _Stream(ContentFile):
                def close(self) -> None:
                    content.close()
                    super().close()

            return io.BufferedReader(_Stream(content))

    class _Reads(FileIO):
        def new_input(self, location: str) -> InputFile:
            return _Input(location)

        def new_output(self, location: str) -> Any:
            raise NotRead(f"{location} is not to be written")

        def delete(self, location: Any) -> None:
            raise NotRead(f"{location} is not to be deleted")

    return _Reads()
