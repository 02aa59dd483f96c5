"""Lines that are found by the quotes of others like them are the rows that they would be if each was taken apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.codecs.jsonl import kinds
from storaged.codecs.jsonl.plan import Survey
from storaged.codecs.jsonl.rows import LEARNED, Rows
from tests.codecs.test_jsonl import kept_of
from tests.codecs.text_files import back
from tests.codecs.text_laws import comes_back_or_is_refused
from tests.laws import tries

_law = tries(10, suppress_health_check=[HealthCheck.too_slow])

NUMBERS = ["1", "-1", "1.0", "1.50", "1e5", "1E5", "-0", "-0.0", "0.00001", "12345678901234567890", "null", "true"]
WORDS = [
    '"a"',
    '""',
    '"null"',
    '"\\"x\\""',
    '"\\\\"',
    '"\\u00e9"',
    '"é"',
    '"\\u0000"',
    '"{,:}"',
    '"2026-11-28"',
    "null",
]
DEEP = ["[]", "[1,2]", '["a"]', '["a","b"]', '[{"x":1}]', '{"x":1}', '{"x":{"y":"z"}}', "{}", "null", '"a"', "5"]
KEYS = ['"a"', '"b"', '"a b"', '"a\\"b"', '"é"', '""']


@st.composite
def lines(draw: st.DrawFn) -> list[bytes]:
    """Some valid lines, most of them alike."""
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4))
    kinds_of = [draw(st.sampled_from([NUMBERS, WORDS, DEEP, NUMBERS + WORDS])) for _ in keys]
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]))
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    made = []
    for _ in range(draw(st.integers(1, 12))):
        some = [n for n in range(len(keys)) if draw(st.integers(0, 9))] or [0]
        values = [draw(st.sampled_from(kinds_of[n])) for n in some]
        made.append("{" + comma.join(keys[n] + colon + v for n, v in zip(some, values, strict=True)) + "}" + ending)
    return [line.encode() for line in made]


def many(some: Sequence[bytes], more: Sequence[bytes]) -> bytes:
    """Enough of some lines that others are found by them, then those with others among them."""
    first = some * (LEARNED // sum(map(len, some)) + 1)
    return b"".join([*first, *[line for pair in zip(first, [*more, *first], strict=False) for line in pair], *first])


def told(rows: Rows) -> tuple[list[bool], list[int], list[list[bytes | None]]]:
    return rows.fits.tolist(), rows.shapes.tolist(), [column.to_pylist() for column in rows.columns]


@_law
@given(some=lines(), more=lines(), opened=st.booleans())
def test_lines_found_by_others_are_the_same_rows(some: list[bytes], more: list[bytes], opened: bool) -> None:
    text = many(some, more)
    assert len(text) > 2 * LEARNED
    survey = Survey(opened)
    survey.see(text)
    plan = survey.plan()
    whole = told(plan.rows(text))
    found: tuple[list[bool], list[int], list[list[bytes | None]]] = [], [], [[] for _ in whole[2]]
    every = text.splitlines(keepends=True) if b"\r" not in text else [li + b"\n" for li in text.split(b"\n")[:-1]]
    for at in range(0, len(every), 500):  # so few that each is taken apart
        part = told(plan.rows(b"".join(every[at : at + 500])))
        found[0].extend(part[0])
        found[1].extend(part[1])
        for column, values in zip(found[2], part[2], strict=True):
            column.extend(values)
    assert found == whole


@_law
@given(some=lines(), more=st.lists(st.binary(max_size=30).map(lambda data: data + b"\n"), max_size=5), odd=lines())
def test_odd_lines_among_many_come_back(some: list[bytes], more: list[bytes], odd: list[bytes]) -> None:
    comes_back_or_is_refused(many(some, [*more, *odd]))


ROWS = [b'{"a":%d,"b":"word %d","c":[%d],"d":null}\n' % (n, n % 9, n % 3) for n in range(9_000)]


@pytest.mark.parametrize(
    ("odd", "rows", "kept"),
    [
        (b"\n", 0, 1),
        (b'{"a":1,"b":"x","c":[1],"d":nule}\n', 1, 0),
        (b'{"a":1,"b":"x\0","c":[1],"d":null}\n', 0, 1),
        (b'{"a":1,"b":"x","c":[1],"d":null}\r\n', 1, 0),
        (b'{"a":1,"b":"x","c":[1],"d":null} \n', 1, 0),
        (b'{"a":1,"b":"x","c":[1] ,"d":null}\n', 1, 0),
        (b'{"a":1,"b":"x","c":[1],"e":null}\n', 1, 0),
        (b'{"a":1,"b":"x\\","c":[1],"d":null}\n', 0, 1),
        (b'{"a":1,"b":"x\\\\","c":[1],"d":null}\n', 1, 0),
        (b'{"a":1,"b":{"x":2},"c":[1],"d":null}\n', 1, 0),
        (b'{"a":[1,"b":"x","c":[1],"d":null}\n', 0, 1),
        (b'{"a":,"b":"x","c":[1],"d":null}\n', 0, 1),
        (b'{"b":1,"a":"x","c":[1],"d":null}\n', 1, 0),
        (b'{"a":1,"b":"x","c":[1],"d":null}{"a":1}\n', 0, 1),
    ],
)
def test_a_line_that_is_nearly_like_others_is_taken_for_none_of_them(odd: bytes, rows: int, kept: int) -> None:
    content = b"".join([*ROWS[:6_000], odd, *ROWS[6_000:]])
    found = back(content)
    assert (found.num_rows, kept_of(content)) == (len(ROWS) + rows, kept)
    assert found["c"].to_pylist()[:3] == ["[0]", "[1]", "[2]"]


@pytest.mark.parametrize(
    ("first", "then", "held"),
    [
        ([1, None, -3], [40_000, 5], True),
        ([1, 2], [0.5, 3], True),
        ([0.5], [1e300, 2.25], True),
        ([None], [7], True),
        ([True], [None, False], True),
        (["a"], ["é", 'b"'], True),
        (["2024-01-31"], ["2024-02-29"], True),
        (["2024-01-31"], ["no day"], False),
        ([1], ["x"], False),
        (["x"], [1], False),
        ([1], [[1]], False),
        ([{"b": 1}], [2], True),
        ([{"b": 1}], [{"c": 2}, {"b": 1, "c": "x"}], True),
    ],
)
def test_values_that_were_read_while_types_were_sought_are_those_that_the_table_gets(
    first: list[Any], then: list[Any], held: bool
) -> None:
    """They are read anew where later ones make another type of the column."""
    blocks = [b"".join(json.dumps({"a": value}).encode() + b"\n" for value in some) for some in (first, then)]
    survey = Survey(opened=True)
    seen = [survey.see(block) for block in blocks]
    plan = survey.plan()
    assert seen[0].are(plan.kinds) == held
    for block, typed in zip(blocks, seen, strict=True):
        table = plan.table(plan.typed(block, typed))
        assert table.equals(plan.table(plan.typed(block, None)))
        lines = plan.lines(table, typed.shapes)
        assert b"".join(lines.to_pylist()) == block


@tries(300)
@given(
    words=st.lists(st.one_of(st.none(), st.text(max_size=8), st.text('a\\"/<&\x00\x1f\x7fé\u2028nu', max_size=6))),
    how=st.data(),
)
def test_strings_are_escaped_as_programs_do(words: list[str | None], how: st.DataObject) -> None:
    chosen = how.draw(st.sampled_from(kinds.ESCAPES))
    dumped = [None if word is None else _dumped(word, chosen) for word in words]
    texts = pa.array([None if text is None else text.encode() for text in dumped], pa.binary())
    found, column = kinds.seen(None, texts)
    assert column.null_count == texts.null_count
    if found is None:
        assert texts.null_count == len(texts)
        return
    assert column.equals(kinds.values(found, texts))
    left, again, right = kinds.written(found, column)
    assert [None if text is None else left + text + right for text in again.to_pylist()] == texts.to_pylist()
    if found.string and found.type.name == "text":
        assert chosen in found.escapes
        assert column.to_pylist() == words


def _dumped(word: str, how: str) -> Any:
    text = json.dumps(word, ensure_ascii="a" in how)
    if "/" in how:
        text = text.replace("/", "\\/")
    for char in "<>&\u2028\u2029" if "<" in how else "":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
