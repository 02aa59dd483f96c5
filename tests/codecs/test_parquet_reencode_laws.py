"""Laws of other encodings: any table comes back bit by bit, and places in dictionaries do."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storaged.codecs.parquet.encodings import hybrid, of_dictionary
from storaged.codecs.parquet.thrift import Malformed
from storaged.codecs.registry import sampled
from storaged.errors import NotTaken, VerificationFailed
from storaged.testing.contents import ORIGIN, BytesContent
from tests.codecs.parquet_files import written
from tests.codecs.test_parquet import table
from tests.codecs.test_parquet_campaign import LONG, mutated
from tests.codecs.test_parquet_reencode import CODEC, SPEC, require_same_rows
from tests.codecs.test_parquet_reencode_proof import NEGATIVE, POSITIVE, QUIET, always


def columns(rows: int) -> st.SearchStrategy[pa.Array]:
    """One, of as many rows."""
    whole = st.one_of(st.integers(0, 3), st.integers(-(2**63), 2**63 - 1))
    small = st.one_of(st.integers(0, 3), st.integers(-(2**31), 2**31 - 1))
    doubles = st.one_of(st.sampled_from([QUIET, NEGATIVE, POSITIVE, 2**64 - 1]), st.integers(0, 2**64 - 1))
    texts = st.one_of(st.text("ab", max_size=3), st.text(max_size=20))

    def listed(of: st.SearchStrategy[Any], type_: pa.DataType) -> st.SearchStrategy[pa.Array]:
        each = st.one_of(st.none(), of)
        return st.lists(each, min_size=rows, max_size=rows).map(lambda cells: pa.array(cells, type_))

    def floats(of: st.SearchStrategy[int], ints: pa.DataType, type_: pa.DataType) -> st.SearchStrategy[pa.Array]:
        return listed(of, ints).map(lambda array: array.view(type_))

    return st.one_of(
        listed(whole, pa.int64()),
        listed(small, pa.int32()),
        listed(st.integers(0, 2**16 - 1), pa.uint16()),
        listed(st.integers(0, 2**60), pa.timestamp("us")),
        floats(doubles, pa.uint64(), pa.float64()),
        floats(st.integers(0, 2**32 - 1), pa.uint32(), pa.float32()),
        listed(texts, pa.string()),
        listed(st.binary(max_size=9), pa.binary()),
        listed(st.binary(min_size=5, max_size=5), pa.binary(5)),
        listed(texts, pa.string()).map(lambda array: array.dictionary_encode()),
        listed(st.booleans(), pa.bool_()),
        listed(st.lists(st.one_of(st.none(), whole), max_size=3), pa.list_(pa.int64())),
        listed(
            st.fixed_dictionaries(
                {"a": st.one_of(st.none(), st.lists(texts, max_size=2)), "b": st.one_of(st.none(), small)}
            ),
            pa.struct([("a", pa.list_(pa.string())), ("b", pa.int32())]),
        ),
    )


tables = st.integers(0, 40).flatmap(lambda rows: st.lists(columns(rows), min_size=1, max_size=3))
options = st.fixed_dictionaries(
    {
        "use_dictionary": st.booleans(),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "compression": st.sampled_from(["none", "snappy", "zstd"]),
        "row_group_size": st.sampled_from([7, 100]),
        "max_rows_per_page": st.sampled_from([5, 1_000]),
        "write_page_index": st.booleans(),
        "write_page_checksum": st.booleans(),
        "dictionary_pagesize_limit": st.sampled_from([10, 1_000_000]),
    }
)


@given(tables, options)
def test_any_table_is_the_same_bit_by_bit(arrays: Sequence[pa.Array], how: dict[str, Any]) -> None:
    """Beside a column by which the file becomes smaller in any case."""
    rows = {f"x{n}": array for n, array in enumerate(arrays)}
    beside = pa.array([b"x" * 500] * max(1, len(arrays[0])))
    codecs = dict.fromkeys(rows, how["compression"]) | {"beside": "none"}
    table = pa.table(rows | {"beside": beside[: len(arrays[0])]})
    data = written(table, write_batch_size=5, **how | {"compression": codecs})
    out = io.BytesIO()
    with pytest.MonkeyPatch.context() as monkeypatch:
        always(monkeypatch)
        try:
            CODEC.derive(BytesContent(data), out.write, spec=SPEC, origin=ORIGIN)
        except NotTaken:
            assume(False)
    CODEC.require_same(BytesContent(data), BytesContent(out.getvalue()), spec=SPEC)
    require_same_rows(data, out.getvalue())


def test_a_damaged_file_is_refused_or_becomes_another_one_of_what_it_holds() -> None:
    data = written(table(200), use_dictionary=["word"], compression="none", row_group_size=100, data_page_size=512)
    chance, became = random.Random(4), 0
    for _ in range(1_000 if LONG else 40):
        source, out = BytesContent(mutated(chance, data, range(len(data)))), io.BytesIO()
        with contextlib.suppress(NotTaken, VerificationFailed):
            sampled(SPEC, source)
            CODEC.derive(source, out.write, spec=SPEC, origin=ORIGIN)
            CODEC.require_same(source, BytesContent(out.getvalue()), spec=SPEC)
            became += 1
    assert became


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 90)), max_size=12))
def test_places_in_a_dictionary_come_back(runs: list[tuple[int, int]]) -> None:
    places = np.array([value for value, count in runs for _ in range(count)], np.uint32)
    kept = of_dictionary(places, 1_000)
    assert hybrid(kept[1:], kept[0], len(places)).tolist() == places.tolist()


@given(st.binary(max_size=40), st.integers(0, 40), st.integers(0, 100))
def test_damaged_places_are_refused_or_read(data: bytes, width: int, count: int) -> None:
    with contextlib.suppress(Malformed):
        assert len(hybrid(data, width, count)) == count
