"""Iceberg tables whose files were moved, by the paths that their metadata has: a FileIO for pyiceberg.

    catalog = load_catalog("lake", **{"py-io-impl": "storaged.iceberg.StoragedFileIO"})

The metadata of an Iceberg table has absolute paths. Those below the root of a dataset are read as the objects that they
name, wherever these are; what the catalog does not have, such as a snapshot that was committed since the last scan, is
read where it lies. What is written or deleted is so at the path, as without it.
"""

from __future__ import annotations

from typing import Final

from pyiceberg.io import PY_IO_IMPL, FileIO, InputFile, InputStream, OutputFile, load_file_io
from pyiceberg.typedef import EMPTY_DICT, Properties

from storaged.filesystem import StoragedFileSystem
from storaged.work.scan.roots import THROUGH, Roots

CONFIG: Final = "storaged.config"  # property: the path of storaged.yaml, where it is not one that storagectl would take


class StoragedFileIO(FileIO):
    """Reads through storaged what lies below the roots of its datasets, or is named `storaged://DATASET/OBJECT`; all
    else as pyiceberg would. Raises ConfigError, UsageError, CatalogError, and OSError as files do."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        self._files = StoragedFileSystem(properties.get(CONFIG))
        self._own = {key: value for key, value in properties.items() if key != PY_IO_IMPL}

    def new_input(self, location: str) -> InputFile:
        """The object that this path means, or what is at the path."""
        path = self._object(location)
        if path is None:
            return load_file_io(self._own, location).new_input(location)
        return _Object(location, self._files, path)

    def new_output(self, location: str) -> OutputFile:
        """What is at the path."""
        return load_file_io(self._own, location).new_output(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete what is at the path."""
        place = location if isinstance(location, str) else location.location
        load_file_io(self._own, place).delete(place)

    def _object(self, location: str) -> str | None:
        """The path in `storaged://` of the object that a location means; None: the catalog has none."""
        if location.startswith(THROUGH):
            return location.removeprefix(THROUGH)
        names = list(self._files.reader.context.datasets)
        roots = Roots(self._files.reader.context, {name: number for number, name in enumerate(names)})
        found = (target for target in roots.targets(location, _NO_DATASET, "") if not target.guess)
        paths = (f"{names[target.dataset_id]}/{target.key}" for target in found)
        return next(filter(self._files.isfile, paths), None)


_NO_DATASET: Final = -1  # which a relative path would be looked for in


class _Object(InputFile):
    """An object, as pyiceberg reads files."""

    def __init__(self, location: str, files: StoragedFileSystem, path: str) -> None:
        super().__init__(location)
        self._files, self._path = files, path

    def __len__(self) -> int:
        return int(self._files.size(self._path))

    def exists(self) -> bool:
        """Whether it is there."""
        return self._files.exists(self._path)

    def open(self, seekable: bool = True) -> InputStream:
        """Its content."""
        opened: InputStream = self._files.open(self._path)
        return opened
