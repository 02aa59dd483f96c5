"""storaged keeps every dataset in the cheapest place and form that its readers allow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from storaged.version import __version__

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.dataset as ds

    from storaged.arrays import Tensors

__all__ = ["__version__", "dataset", "sql", "tensors"]


def dataset(path: str, *, config: str | os.PathLike[str] | None = None, schema: pa.Schema | None = None) -> ds.Dataset:
    """Objects as one table, a pyarrow Dataset: storaged.tables.dataset."""
    from storaged import tables  # readers of tables alone wait for what it imports

    return tables.dataset(path, config=config, schema=schema)


def sql(
    query: str, *, config: str | os.PathLike[str] | None = None, connection: duckdb.DuckDBPyConnection | None = None
) -> duckdb.DuckDBPyRelation:
    """A query of DuckDB over objects: storaged.tables.sql."""
    from storaged import tables

    return tables.sql(query, config=config, connection=connection)


def tensors(path: str, *, config: str | os.PathLike[str] | None = None) -> Tensors:
    """The tensors of a file of weights or arrays, each read by itself: storaged.arrays.tensors."""
    from storaged import arrays

    return arrays.tensors(path, config=config)
