"""Values are written as they stood, however few or many of them there are."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from storaged.codecs.text.columns import Type, values, written
from tests.laws import tries

_law = tries(300)
_doubles = st.one_of(
    st.floats().map(repr),
    st.floats(0, 1e6).map(lambda number: f"{number:.2f}"),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.sampled_from(["1.0", "01.0", "-0.0", "0.0", ".5", "5.", "1.50", "1e5", "0.00001", "1", "+1.0"]),
    st.sampled_from(["123456789012345.5", "12345678901.5", "10000000000.0", "9999999999.5", "1234567890.12345"]),
    st.text("0123456789.-", max_size=5),
)


@_law
@example(texts=["0.5", "-0.0"])
@example(texts=["1.5", "2.50"])
@given(texts=st.lists(st.one_of(st.none(), _doubles), max_size=6))
def test_a_column_of_doubles_is_written_as_it_stood(texts: list[str | None]) -> None:
    told = [None if text is None else text.encode() for text in texts]
    column = values(Type("repr"), pa.array(told, pa.binary()))
    # Arrow writes some large ones otherwise, which are no doubles to us then.
    same = all(text is None or (_is_repr(text) and abs(float(text)) < 1e10) for text in texts)
    assert column is not None or not same
    if column is not None:
        assert written(Type("repr"), column).to_pylist() == told


def _is_repr(text: str) -> bool:
    try:
        return repr(float(text)) == text
    except ValueError:
        return False


@_law
@example(some=[0.0, -0.0, None])
@given(some=st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=9))
def test_doubles_that_come_often_are_written_as_those_that_do_not(some: list[float | None]) -> None:
    once = written(Type("repr"), pa.array(some, pa.float64())).to_pylist()
    assert written(Type("repr"), pa.array(some * 400, pa.float64())).to_pylist() == once * 400


@_law
@given(some=st.lists(st.one_of(st.none(), st.dates()), min_size=1, max_size=9))
def test_dates_that_come_often_are_written_as_those_that_do_not(some: list[object]) -> None:
    once = written(Type("date"), pa.array(some, pa.date32())).to_pylist()
    assert written(Type("date"), pa.array(some * 400, pa.date32())).to_pylist() == once * 400
