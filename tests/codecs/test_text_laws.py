"""Texts that are odd or broken, and laws over any of them."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from storaged.codecs.parquet import block
from storaged.codecs.parquet.codec import Parquet
from storaged.errors import NotTaken
from storaged.testing.contents import MIB, BytesContent, BytesReader, encoded
from tests.codecs.text_files import back
from tests.codecs.text_laws import comes_back_or_is_refused, never_reads_otherwise
from tests.laws import tries

CODEC = Parquet()

# -- odd and bad input -------------------------------------------------------------------------------------------------

GOOD = b"".join(b"%d,word %d,%d.25\n" % (n, n % 9, n) for n in range(2_000))


def odd(name: str) -> bytes:
    lines = GOOD.splitlines(keepends=True)
    head = b"a,b,c\n"
    match name:
        case "ragged":
            return head + b"".join([*lines[:50], b"1,2\n", *lines[50:90], b"1,2,3,4\n", *lines[90:]])
        case "blank":
            return head + b"".join([*lines[:50], b"\n", *lines[50:90], b"\r\n", b"\n", *lines[90:], b"\n"])
        case "mixed line ends":
            return head + b"".join([*lines[:50], *(li[:-1] + b"\r\n" for li in lines[50:80]), *lines[80:]])
        case "a CR alone":
            return head + b"".join([*lines[:50], b"1,a\rb,2.25\n", *lines[50:]])
        case "NULs":
            return head + b"".join([*lines[:50], b"1,a\0b,2.25\n", *lines[50:]])
        case "invalid UTF-8":
            return head + b"".join([*lines[:50], b"1,a\xffb,2.25\n", *lines[50:]])
        case "a stray quote":
            return head + b"".join([*lines[:50], b'1,5" wide,2.25\n', *lines[50:]])
        case "two stray quotes":
            return head + b"".join([*lines[:50], b'1,5" by 6",2.25\n', *lines[50:]])
        case "needless quotes":
            return head + b"".join([*lines[:50], b'1,"word",2.25\n', b'"2",b,"2.25"\n', *lines[50:]])
        case "comments":
            return b"# made by hand\n\n" + head + b"".join([*lines[:50], b"# a note\n", *lines[50:]])
        case "no line end at the end":
            return head + GOOD[:-1]
        case "a CR at the end":
            return head + GOOD[:-1] + b"\r"
        case "an open quote at the end":
            return head + GOOD + b'1,"word'
        case "a BOM in the middle":
            return head + b"".join([*lines[:50], b"\xef\xbb\xbf1,2,3.25\n", *lines[50:]])
        case "two headers":
            return head + b"".join([*lines[:50], head, *lines[50:]])
        case _:
            raise ValueError(name)


@pytest.mark.parametrize(
    ("name", "rows", "kept"),
    [
        ("ragged", 2_000, 2),
        ("blank", 2_000, 4),
        ("mixed line ends", 2_000, 30),
        ("a CR alone", 2_000, 1),
        ("NULs", 2_001, 0),
        ("invalid UTF-8", 2_001, 0),
        ("two stray quotes", 2_001, 1),
        ("needless quotes", 2_002, 2),
        ("comments", 2_000, 1),
        ("no line end at the end", 2_000, 0),
        ("a BOM in the middle", 2_001, 0),
        ("two headers", 2_001, 0),
    ],
)
def test_odd_lines_are_kept_and_the_others_are_rows(name: str, rows: int, kept: int) -> None:
    content = odd(name)
    found = back(content)
    assert found.num_rows == rows
    assert kept_of(content) == kept


@pytest.mark.parametrize("name", ["a stray quote", "a CR at the end", "an open quote at the end"])
def test_what_is_broken_comes_back_or_is_refused_with_a_reason(name: str) -> None:
    content = odd(name)
    assert CODEC.sample(BytesContent(content), level=None).why_not
    with contextlib.suppress(NotTaken):
        assert back(content).num_rows >= 2_000


@pytest.mark.parametrize("field", ['"a {}\nnext, line"', '"a ""{}""\n\nnext, line"', '"{}\n""\n"'])
def test_a_sample_that_begins_inside_of_quotes_is_told_by_its_rows(field: str) -> None:
    """Which line end is a record's cannot be seen in the middle of a text where quotes hold some, too."""
    chance = random.Random(1)
    lines = (f'{n},{field.format(n)},{chance.random()!r},x,"{chance.randrange(10**9)}"\n' for n in range(40_000))
    content = ("id,when,price,kind,num\n" + "".join(lines)).encode()
    found = CODEC.sample(BytesContent(content), level=None)
    assert found.taken, found.reason
    assert found.ratio == pytest.approx(len(encoded(CODEC, content)[1]) / len(content), rel=0.1)


def kept_of(content: bytes) -> int:
    """How many lines a blob keeps as they are."""
    _, blob = encoded(CODEC, content)
    return int(block.read(BytesReader(blob)).told["kept"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "hold no end of a line"),
        (b"one line", "hold no end of a line"),
        (b"a,b\r1,2\r3,4\r", "CR alone"),
        (b"words without any of them\n" * 100, "no fields"),
        (b'[{"a": 1, "b": 2},\n {"a": 1, "b": 2}]\n' * 100, "JSON"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"".join(b"x" + b"," * (n * 7 % 13) + b"\n" for n in range(500)), "fields"),
        (bytes(range(256)) * 100, ""),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    found = CODEC.sample(BytesContent(content), level=None)
    assert not found.taken
    assert found.instead is not None
    assert reason in found.reason
    with pytest.raises(NotTaken, match="no table"):
        encoded(CODEC, content)


def test_many_columns_come_back() -> None:
    names = ",".join(f"c{n}" for n in range(10_000))
    rows = "".join(",".join(str((n * m) % 977) for m in range(10_000)) + "\n" for n in range(300))
    found = back(f"{names}\n{rows}".encode())
    assert (found.num_rows, found.num_columns) == (300, 10_000)
    assert found["c5"].to_pylist() == [n * 5 % 977 for n in range(300)]


def test_a_line_without_an_end_in_the_middle_is_refused() -> None:
    content = b"a,b\n" + b"1,2\n" * 500_000 + b'3,"' + b"x" * (40 * MIB)
    with pytest.raises(NotTaken, match="longer than"):
        encoded(CODEC, content)


def test_quoted_lines_at_the_borders_of_blocks_come_back() -> None:
    row = b'%d,"first\nsecond ""quoted""\r\nthird, and more of it %d"\n'
    content = b"a,b\n" + b"".join(row % (n, n) for n in range(400_000))
    assert len(content) > 20 * MIB
    found = back(content)
    assert found.num_rows == 400_000
    assert kept_of(content) == 0


def test_a_block_without_rows_at_the_end_comes_back() -> None:
    """Of exactly 16 MiB of rows, and blank lines behind them."""
    content = b"n,word,price\n" + b"".join(b"%07d,%04d,xy\n" % (n, n % 1000) for n in range(2**20))
    content += b"\n" * 3
    found = back(content)
    assert found.num_rows == 2**20
    assert kept_of(content) == 3


# -- laws --------------------------------------------------------------------------------------------------------------

_law = tries(200, suppress_health_check=[HealthCheck.too_slow])
_fields = st.one_of(
    st.integers(-(10**6), 10**6).map(lambda n: str(n).encode()),
    st.floats(allow_nan=False).map(lambda f: repr(f).encode()),
    st.dates().map(lambda d: d.isoformat().encode()),
    st.datetimes().map(lambda d: d.isoformat().encode()),
    st.decimals(places=2, allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6).map(
        lambda d: str(d).encode()
    ),
    st.sampled_from([b"", b'""', b"NA", b"true", b"false", b"007", b"-0", b"nan", b'"a, b"', b'"a""b"', b'"x\ny"']),
    st.text(st.characters(exclude_characters='\n\r,"', exclude_categories=("Cs",)), max_size=9).map(str.encode),
    st.binary(max_size=4),
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Tables of columns that are mostly of one kind each."""
    width = draw(st.integers(2, 5))
    kinds = [draw(st.sampled_from([*range(7), None])) for _ in range(width)]
    strategies = [_fields if kind is None else _fields.original_strategies[kind] for kind in kinds]
    rows = draw(st.lists(st.tuples(*strategies), max_size=12))
    times = draw(st.sampled_from([1, 30]))
    delimiter = draw(st.sampled_from([b",", b";", b"\t", b"|"]))
    ending = draw(st.sampled_from([b"\n", b"\r\n"]))
    lines = [delimiter.join(row) + ending for row in rows] * times
    for _ in range(draw(st.integers(0, 2))):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from([b"\n", b"#\n", b"\r", b'"', b"a,b\n"])))
    head = draw(
        st.sampled_from([b"", b"\xef\xbb\xbf", delimiter.join(b"abcde"[n : n + 1] for n in range(width)) + ending])
    )
    whole = head + b"".join(lines)
    return whole[: len(whole) - draw(st.integers(0, 3))]


@_law
@example(content=b"a\tb\tc\r\na\rb\t9223372036854775807\tinf\r\n")  # no line of it is a record
@given(content=st.one_of(texts(), st.binary(max_size=60), st.text('ab,"\n\r1.;\t', max_size=60).map(str.encode)))
def test_any_text_comes_back_or_is_refused(content: bytes) -> None:
    comes_back_or_is_refused(content)


@_law
@given(content=texts(), at=st.data())
def test_a_damaged_blob_never_reads_as_another_text(content: bytes, at: st.DataObject) -> None:
    never_reads_otherwise(content, at)
