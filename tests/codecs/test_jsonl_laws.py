"""Lines that are odd or broken, and laws over any of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from storaged.codecs.parquet.codec import Parquet
from storaged.errors import NotTaken
from storaged.testing.contents import MIB, BytesContent, encoded
from tests.codecs.test_jsonl import kept_of
from tests.codecs.text_files import back
from tests.codecs.text_laws import comes_back_or_is_refused, never_reads_otherwise
from tests.laws import tries

CODEC = Parquet()
LINES = [b'{"a": %d, "b": "word %d", "c": {"d": %d.25}}\n' % (n, n % 9, n) for n in range(2_000)]


@pytest.mark.parametrize(
    ("odd", "rows", "kept"),
    [
        (b"\n", 0, 1),
        (b"\r\n", 0, 1),
        (b"[1, 2]\n", 0, 1),
        (b'{"a": 1, "b": "x\n', 0, 1),
        (b'{"a": 1, "b": "x}\n', 0, 1),
        (b'{"a": 1, "b": {"x": 1}\n', 0, 1),
        (b'{"a": 1}}\n', 0, 1),
        (b'{"a": }\n', 0, 1),
        (b"{}\n", 0, 1),
        (b"words\n", 0, 1),
        (b'{"a": "\0"}\n', 0, 1),
        (b'{"a": "\x01"}\n', 0, 1),
        (b'{"a\x01": 5}\n', 0, 1),
        (b'{"a": "x\ry"}\n', 0, 1),
        (b'{"a": "\xff"}\n', 1, 0),
        (b'{"a\xff": 5}\n', 0, 1),
        (b'{"a": 5, "b": "x"}\r\n', 1, 0),
        (b'{"b": "x", "a": 5 }\n', 1, 0),
        (b' {"a": 5}\n', 0, 1),
        (b'{"\\u0000": 5}\n', 0, 1),
        (b'{"\\ud800": 5}\n', 0, 1),
        (b'{"a" 5, : "b"}\n', 0, 1),
        (b'{"a": 5 "b": 6}\n', 0, 1),
        (b"{" * 1_500 + b"\n", 0, 1),
        (b"}{\n", 0, 1),
        (b'{"a": "\\"}\n', 0, 1),
        (b'{"a": "\\\\"}\n', 1, 0),
        (b'\\{"a": 5}\n', 0, 1),
    ],
)
def test_odd_lines_are_kept_and_the_others_are_rows(odd: bytes, rows: int, kept: int) -> None:
    content = b"".join([*LINES[:50], odd, *LINES[50:], odd])
    found = back(content)
    assert (found.num_rows, kept_of(content)) == (2_000 + 2 * rows, 2 * kept)
    assert found["c"].to_pylist()[:40] == [{"d": n + 0.25} for n in range(40)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "no JSON objects"),
        (b"{}\n" * 100, "no JSON objects"),
        (b'{"a":\n 1}\n' * 100, "no JSON objects"),
        (b'{"a": 1}\nword\n' * 100, "100 of its 200 lines"),
        (b"".join(b'{"a%d": 1}\n' % n for n in range(500)), "shapes"),
        (
            b"".join(b'{"a%d": 1, %s}\n' % (m, b", ".join(b'"x%d": 1' % n for n in range(999))) for m in range(9)),
            "keys",
        ),
        ('{"a": 1}\n'.encode("utf-16"), "UTF-16"),
        (b'{"a": "' + b"x" * (2 * MIB), "no end of a line"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    found = CODEC.sample(BytesContent(content), level=None)
    assert not found.taken
    assert found.instead is not None
    assert reason in found.reason
    with pytest.raises(NotTaken, match="no table"):
        encoded(CODEC, content)


def test_a_line_longer_than_a_block_is_refused() -> None:
    content = b'{"a": 1}\n' * 500_000 + b'{"a": "' + b"x" * (40 * MIB) + b'"}\n'
    with pytest.raises(NotTaken, match="longer than"):
        encoded(CODEC, content)


# -- laws --------------------------------------------------------------------------------------------------------------

_law = tries(200, suppress_health_check=[HealthCheck.too_slow])
_keys = st.one_of(st.sampled_from(["a", "b", "a.b", "", "é"]), st.text(max_size=3))
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["2026-11-28", "2026-11-28T10:00:00Z", '"', "\\", "/", "<é>", "null", "\n"]),
)
_values = st.one_of(
    _scalars,
    st.lists(_scalars, max_size=2),
    st.dictionaries(_keys, st.one_of(_scalars, st.dictionaries(_keys, _scalars, max_size=2)), max_size=3),
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Objects of some shapes each, as several writers write them, and now and then something else between them."""
    keys = draw(st.lists(_keys, min_size=1, max_size=4))
    rows: list[dict[str, Any]] = draw(
        st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(keys, _values)), max_size=8)
    )
    how = draw(st.fixed_dictionaries({"ensure_ascii": st.booleans(), "sort_keys": st.booleans()}))
    how["separators"] = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,  ", " : ")]))
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    written = [json.dumps(row, **how) for row in rows] * draw(st.sampled_from([1, 30]))
    if draw(st.booleans()):
        written = [line.replace("/", "\\/").replace("<", "\\u003c") for line in written]
    lines = [(line + ending).encode(errors="replace") for line in written]
    for _ in range(draw(st.integers(0, 3))):
        odd = st.one_of(
            st.sampled_from(
                [b"\n", b"\r", b'"', b"}{\n", b'{"a":1}\n', b'{"a":"x\\"}\n', b"\\", b"\1\n", b'{"a":[}]}\n']
            ),
            st.binary(max_size=5),
        )
        lines.insert(draw(st.integers(0, len(lines))), draw(odd))
    whole = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + b"".join(lines)
    return whole[: len(whole) - draw(st.integers(0, 3))]


_noise = st.text('{}[]:,"\\ \n\r1ae\1.-', max_size=60).map(lambda text: b"{" + text.encode())


@_law
@example(content=b'{"a":\xef\xbb\xbf5}\n' * 40)
@example(content=b'{"a":"\\\n"}\n')
@example(content=b'{"a":1,"b":{"c":[{"d":1}],"e":2}}\n' * 40)
@given(content=st.one_of(texts(), _noise, st.binary(max_size=60).map(lambda data: b'{"a":' + data)))
def test_any_lines_come_back_or_are_refused(content: bytes) -> None:
    comes_back_or_is_refused(content)


@_law
@given(content=texts(), at=st.data())
def test_a_damaged_blob_never_reads_as_other_lines(content: bytes, at: st.DataObject) -> None:
    never_reads_otherwise(content, at)
