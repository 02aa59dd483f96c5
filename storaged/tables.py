"""Objects as tables: a pyarrow Dataset, or SQL by DuckDB, over the form that each object has where it is.

An object whose blob is a Parquet file (`storaged.codecs.base.Codec.table`) is read as that file: those columns and row
groups that are wanted. Any other is read by what its name says: Parquet, CSV, TSV, JSON lines. Partition values are
those of the dataset's `partitions`, else what names say as Hive does. Every file that is opened counts as a read.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from glob import has_magic
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import sqlglot
import sqlglot.errors
from pyarrow.fs import FSSpecHandler, PyFileSystem
from sqlglot import exp

from storaged.codecs.registry import form
from storaged.errors import ObjectNotFound, UsageError
from storaged.filesystem import StoragedFile, StoragedFileSystem
from storaged.naming import COMPRESSED
from storaged.opened import OpenObject, Shown
from storaged.oserrors import os_errors
from storaged.reader import Found
from storaged.work.scan.partitions import format_of, partition_reader

LOOKED_AT: Final = 16  # files whose columns are read at a time
SHOWN: Final = 3  # objects that a message names

_FORMATS: Final[Mapping[str, Callable[[], ds.FileFormat]]] = {
    "parquet": ds.ParquetFileFormat,
    "parq": ds.ParquetFileFormat,
    "pq": ds.ParquetFileFormat,
    "csv": lambda: _csv(","),
    "tsv": lambda: _csv("\t"),
    "json": ds.JsonFileFormat,
    "jsonl": ds.JsonFileFormat,
    "ndjson": ds.JsonFileFormat,
}
_OPENED: Final = frozenset(("bz2", "gz"))  # whose compression pyarrow knows by these extensions


class TableFiles(StoragedFileSystem):
    """`storaged://` whose files are the Parquet files that blobs are, of the objects in `blobs`: by path, with the
    generation that was listed. All others are their content."""

    cachable = False  # fsspec would keep each of them, and its listing, for ever

    def __init__(
        self, config: str | os.PathLike[str] | None = None, *, blobs: Mapping[str, int] | None = None, **options: Any
    ) -> None:
        super().__init__(config, **options)
        self._blobs = dict(blobs or {})

    def _open(self, path: str, *arguments: Any, **options: Any) -> StoragedFile:
        """Parquet's readers ask for the very ranges that they need: nothing is read ahead."""
        if path in self._blobs or _FORMATS.get(format_of(path)) is ds.ParquetFileFormat:
            options["cache_type"] = "none"
        return super()._open(path, *arguments, **options)

    def _open_object(self, path: str, found: Found | None = None) -> OpenObject:
        if path not in self._blobs:
            return super()._open_object(path, found)
        with os_errors(path):
            return self.reader.open_blob(path, self._blobs[path])


def dataset(path: str, *, config: str | os.PathLike[str] | None = None, schema: pa.Schema | None = None) -> ds.Dataset:
    """A pyarrow Dataset over the objects at a path: a dataset of storaged, a folder in one, an object, or a pattern of
    them such as "events/dt=2013-*". Objects whose names begin with "_" or "." are left out, as by Hive and Arrow.

    `config`: the path of storaged.yaml, as for StoragedFileSystem. `schema`: of all of it, so that no file is looked at
    beforehand; without it the columns of every file are read, and those of one name must have types of which one holds
    the others. Partition values are columns too. Objects that are moved meanwhile are found at their new place, unless
    they take another form there: then reading raises OSError, and a new Dataset reads them.

    Raises UsageError where there is nothing, something is no table, or columns do not agree; ObjectNotFound and what
    the filesystem raises.
    """
    files = StoragedFileSystem(config)
    shown = _tables_at(files, path)
    formats = _formats(shown, path)
    blobs = {s.path: s.generation for s in shown if form(s.codec).table}
    storage = PyFileSystem(FSSpecHandler(TableFiles(config, blobs=blobs)))
    values = _partitions(files, shown)
    kinds = {name: _kind_of([v[name] for v in values if name in v]) for name in sorted({n for v in values for n in v})}
    fragments: dict[str, list[ds.Fragment]] = defaultdict(list)
    made: dict[str, ds.FileFormat] = {name: _FORMATS[name]() for name in set(formats)}
    for one, name, value in zip(shown, formats, values, strict=True):
        where = _expression(value, kinds)
        fragments[name].append(made[name].make_fragment(one.path, storage, where))
    if schema is None:
        schema = _one_schema([f for group in fragments.values() for f in group], kinds)
    parts = [_Files(group, schema, made[name], storage) for name, group in sorted(fragments.items())]
    return parts[0] if len(parts) == 1 else _Union(schema, parts)


class _InTurn:
    """A Dataset whose batches are asked for one after the other, by the thread that reads, where a reader is made of
    its Scanner.

    `Scanner.to_reader`, by which DuckDB reads, keeps the interpreter's lock while it begins. Files of a filesystem that
    is written in Python are opened by threads that need it, some of them under a lock that the beginning waits for: it
    comes to no end, for JSON lines always, for others once in hundreds of queries on a busy machine (pyarrow 26.0.1;
    `to_batches` gives the lock up). What the Dataset itself is asked for gives it up, and is read
    from the files directly.
    """

    def scanner(self, *arguments: Any, **options: Any) -> ds.Scanner:
        inner = self._direct(*arguments, **options)
        batches = pa.RecordBatchReader.from_batches(inner.projected_schema, inner.to_batches())
        return ds.Scanner.from_batches(batches)

    def to_table(self, *arguments: Any, **options: Any) -> pa.Table:
        return self._direct(*arguments, **options).to_table()

    def to_batches(self, *arguments: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        batches: Iterator[pa.RecordBatch] = self._direct(*arguments, **options).to_batches()
        return batches

    def head(self, num_rows: int, *arguments: Any, **options: Any) -> pa.Table:
        return self._direct(*arguments, **options).head(num_rows)

    def take(self, indices: Any, *arguments: Any, **options: Any) -> pa.Table:
        return self._direct(*arguments, **options).take(indices)

    def count_rows(self, filter: pc.Expression | None = None, **options: Any) -> int:  # noqa: A002 (pyarrow's name)
        """Of Parquet, by the files' footers alone."""
        return int(self._direct(filter=filter, **options).count_rows())

    def _direct(self, *arguments: Any, **options: Any) -> ds.Scanner:
        return super().scanner(*arguments, **options)  # type: ignore[misc]  # the other base has it


class _Files(_InTurn, ds.FileSystemDataset):  # type: ignore[misc]  # pyarrow has no types
    pass


class _Union(_InTurn, ds.UnionDataset):  # type: ignore[misc]  # pyarrow has no types
    pass


def sql(
    query: str, *, config: str | os.PathLike[str] | None = None, connection: duckdb.DuckDBPyConnection | None = None
) -> duckdb.DuckDBPyRelation:
    """The answer to a query of DuckDB's dialect, lazily. Tables that the query names, and that are none of `connection`
    (a new one in memory without it) nor of the query, are paths as for `dataset`: `SELECT … FROM events`, or in double
    quotes "events/dt=2013-*". Filters and columns reach the files.

    Raises UsageError where the query cannot be read, and as `dataset` does; duckdb.Error as DuckDB does.
    """
    connection = duckdb.connect() if connection is None else connection
    known = {
        name
        for (name,) in connection.execute(
            "SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views()"
        ).fetchall()
    }
    for name in _named(query):
        if name not in known:
            connection.register(name, dataset(name, config=config))
    return connection.sql(query)


def _named(query: str) -> list[str]:
    """The tables that a query reads and does not make itself."""
    try:
        parsed = [one for one in sqlglot.parse(query, dialect="duckdb") if one is not None]
    except sqlglot.errors.SqlglotError as error:
        raise UsageError(f"the query cannot be read: {error}") from error
    own = {cte.alias for one in parsed for cte in one.find_all(exp.CTE)}
    names = {
        t.name for one in parsed for t in one.find_all(exp.Table) if isinstance(t.this, exp.Identifier) and not t.db
    }
    return sorted(names - own)


def _tables_at(files: StoragedFileSystem, path: str) -> list[Shown]:
    """The objects at a path or pattern that are not left out by their names."""
    path = files._strip_protocol(path).rstrip("/")
    places = files.glob(path) if has_magic(path) else [path]
    found: dict[str, Shown] = {}
    for place in places:
        with os_errors(place):
            try:
                each = [files.reader.look(place)]
            except ObjectNotFound:
                each = list(files.reader.under(place))
            found |= {s.path: s for s in each if not s.marks_folder}
    tables = [s for s in found.values() if not any(part[:1] in ("_", ".") for part in s.name.split("/"))]
    if not tables:
        raise UsageError(f"there is no object at {path!r}", hint="`storagectl ls` lists datasets and what is in them")
    return tables


def _formats(shown: Sequence[Shown], path: str) -> list[str]:
    """The format of each file to be read. Raises UsageError, naming some that have none."""
    found = [form(s.codec).table or format_of(s.name) for s in shown]
    strange = [s.path for s, name in zip(shown, found, strict=True) if name not in _FORMATS or _packed(s)]
    if strange:
        more = f" and {len(strange) - SHOWN:,} more" if len(strange) > SHOWN else ""
        raise UsageError(
            f"no tables by their names: {', '.join(strange[:SHOWN])}{more}",
            hint=f'a pattern leaves them out, such as "{path}/*.csv"; tables end in {", ".join(_FORMATS)}',
        )
    return found


def _packed(shown: Shown) -> bool:
    """Whether content is compressed in a way that pyarrow's reader of texts does not take from a name."""
    if form(shown.codec).table:
        return False
    return shown.name.lower().rpartition(".")[2] in COMPRESSED - _OPENED


def _csv(delimiter: str) -> ds.CsvFileFormat:
    """A field without text is null, one of two quotes is an empty string."""
    return ds.CsvFileFormat(
        pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


# -- partitions --------------------------------------------------------------------------------------------------------


def _partitions(files: StoragedFileSystem, shown: Sequence[Shown]) -> list[dict[str, str]]:
    """The partition values that each name tells."""
    readers: dict[str, Callable[[str], dict[str, str]]] = {}
    for one in shown:
        if one.dataset not in readers:
            pattern = files.reader.context.dataset(one.dataset).partitions
            readers[one.dataset] = _hive if pattern is None else _by(partition_reader(pattern))
    return [readers[one.dataset](one.name) for one in shown]


def _by(read: Callable[[str], str | None]) -> Callable[[str], dict[str, str]]:
    def values(name: str) -> dict[str, str]:
        return dict(json.loads(read(name) or "{}"))

    return values


def _hive(name: str) -> dict[str, str]:
    """What folders of a name say as `key=value`."""
    keys = [part.partition("=")[0] for part in posixpath.dirname(name).split("/") if re.fullmatch(r"\w+=[^/]*", part)]
    pattern = "/".join(f"{key}={{{key}}}" for key in keys)
    return _by(partition_reader(pattern))(name) if keys and len(set(keys)) == len(keys) else {}


def _kind_of(values: Iterable[str]) -> pa.DataType:
    """Whole numbers as people write them, ISO dates, else text."""
    texts = list(values)
    if all(re.fullmatch(r"0|-?[1-9]\d{0,17}", text) for text in texts):
        return pa.int64()
    if all(map(_is_date, texts)):
        return pa.date32()
    return pa.string()


def _is_date(text: str) -> bool:
    try:
        return len(text) == len("2026-01-01") and bool(dt.date.fromisoformat(text))
    except ValueError:
        return False


def _expression(values: Mapping[str, str], kinds: Mapping[str, pa.DataType]) -> pc.Expression:
    """What holds of every row of a file."""
    whole = pc.scalar(True)
    for name, kind in kinds.items():
        if name in values:
            typed = pa.scalar(values[name], pa.string()).cast(kind)
            whole = whole & (ds.field(name) == typed)
        else:
            whole = whole & ds.field(name).is_null()
    return whole


# -- columns -----------------------------------------------------------------------------------------------------------


def _one_schema(fragments: Sequence[ds.Fragment], kinds: Mapping[str, pa.DataType]) -> pa.Schema:
    """The columns of all files, and the partition values. Raises UsageError where one name has types of which none
    holds the others, naming two objects that differ."""
    with ThreadPoolExecutor(LOOKED_AT) as pool:
        schemas = [s.remove_metadata() for s in pool.map(lambda f: f.physical_schema, fragments)]
    whole, of = schemas[0], dict.fromkeys(schemas[0].names, fragments[0].path)
    for fragment, other in zip(fragments[1:], schemas[1:], strict=True):
        if other.equals(whole):
            continue
        try:
            whole = pa.unify_schemas([whole, other], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise _differ(whole, other, of, fragment.path) from error
        of = dict.fromkeys(other.names, fragment.path) | of
    for name, kind in kinds.items():
        whole = whole.append(pa.field(name, kind)) if name not in whole.names else whole
    return whole


def _differ(one: pa.Schema, other: pa.Schema, of: Mapping[str, str], path: str) -> UsageError:
    """Which column has types that do not go together, and where."""
    for field in other:
        if field.name in one.names:
            try:
                pa.unify_schemas([pa.schema([one.field(field.name)]), pa.schema([field])], promote_options="permissive")
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                return UsageError(
                    f"column {field.name!r} is {one.field(field.name).type} in {of[field.name]}, "
                    f"and {field.type} in {path}",
                    hint="give `schema`, or a pattern of objects that agree",
                )
    return UsageError(f"the columns of {path} do not go with those before it", hint="give `schema`")
