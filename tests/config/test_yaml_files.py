"""YAML files: strict reading with lines, and models checked against them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator

from storaged.config.quantities import BadValueError, Duration
from storaged.config.yaml import MAX_BYTES, read_document, validate
from storaged.errors import ConfigError, Problem


def write(path: Path, content: str | bytes) -> Path:
    """A file with this content."""
    file = path / "some.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def problems(path: Path, content: str | bytes) -> list[tuple[int, str, str, str]]:
    """Line, YAML path, message and hint of all that reading finds wrong."""
    file = write(path, content)
    with pytest.raises(ConfigError) as caught:
        read_document(file)
    assert all(problem.file == str(file) for problem in caught.value.problems)
    return [(problem.line, problem.path, problem.message, problem.hint or "") for problem in caught.value.problems]


def test_data_comes_with_the_lines_of_keys_and_items(tmp_path: Path) -> None:
    """A key's line, an item's line, and for what is missing its nearest parent's."""
    document = read_document(write(tmp_path, "# why\na:\n  b: 1\n  c:\n    - x\n    - d: y\nlast: true\n"))
    assert document.data == {"a": {"b": 1, "c": ["x", {"d": "y"}]}, "last": True}
    paths: list[tuple[str | int, ...]] = [
        (),
        ("a",),
        ("a", "b"),
        ("a", "c"),
        ("a", "c", 0),
        ("a", "c", 1, "d"),
        ("last",),
    ]
    assert [document.line(path) for path in paths] == [2, 2, 3, 4, 5, 6, 7]
    assert document.line(("a", "c", 7, "nowhere")) == 4
    assert document.line(("nowhere",)) == 2


def test_only_plain_numbers_and_true_and_false_are_not_text(tmp_path: Path) -> None:
    """The traps of YAML 1.1 (yes, octals, sexagesimals, dates, underscores) stay text."""
    text = [
        "yes",
        "no",
        "on",
        "off",
        "Y",
        "0755",
        "1:30",
        "2026-01-31",
        "1_000",
        "0x1F",
        "0o7",
        "1e3",
        ".5",
        ".inf",
        ".nan",
        "5.",
        "+",
    ]
    document = read_document(write(tmp_path, "\n".join(f"- {word}" for word in text)))
    assert document.data == text
    document = read_document(write(tmp_path, "[0, -3, +4, 1.5, true, False, '1', \"true\", 0.25]"))
    assert document.data == [0, -3, 4, 1.5, True, False, "1", "true", 0.25]
    assert [type(item) for item in document.data] == [int, int, int, float, bool, bool, str, str, float]


def test_a_number_too_long_to_be_meant_stays_text(tmp_path: Path) -> None:
    """Python itself refuses integers of thousands of digits; none reaches it."""
    assert read_document(write(tmp_path, f"a: {'9' * 5000}")).data == {"a": "9" * 5000}


@pytest.mark.parametrize(
    ("content", "line", "path", "message", "hint"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a", "'a' is given twice", "first on line 1"),
        ("x:\n  a: 1\n  a: 2\n", 3, "x.a", "'a' is given twice", "first on line 2"),
        ("a: 1\nb: &x [1]\n", 2, "b", "anchors", "write the value out"),
        ("a: 1\nb: *x\n", 2, "b", "aliases", "write the value out"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "a", "tags", "quotes make it text"),
        ("- 1\n- !secret x\n", 2, "[1]", "tags", "quotes make it text"),
        ("a: 1\n2: b\n", 2, "", "the key 2 is not text", '"2"'),
        ("true: b\n", 1, "", "the key true is not text", '"true"'),
        ("a: 1\n? [x]\n: b\n", 2, "", "a key is one word", "out of place"),
        ("a: 1\n~: b\n", 2, "", "a key is missing", ""),
        ("a:\nb: 1\n", 1, "a", "there is no value here", "remove the line"),
        ("a: {b: ~}\n", 1, "a.b", "there is no value here", "remove the line"),
        ("a: 1\n---\nb: 2\n", 2, "", "a second document begins here", "one file holds one document"),
        ("", 1, "", "the file is empty", ""),
        ("# nothing\n", 1, "", "the file is empty", ""),
        ("---\n...\n", 1, "", "the file is empty", ""),
        (b"a: 1\nb: \xff\n", 2, "", "not UTF-8", "UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, "", "not UTF-8", "UTF-8"),
        (b"a: 1\nb: \x00\n", 2, "", "control character U+0000", ""),
        ('a: 1\nb: "\\0"\n', 2, "b", "control character U+0000", "remove it"),
        ('"\\ud800": 1\n', 1, "", "control character U+D800", "remove it"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, "", "no such character", ""),
        (f"%YAML 1.{'9' * 5000}\n---\na: 1\n", 1, "", "no such character or number", ""),
        ("a: 1\nb: c: d\n", 2, "", "a second colon", "in quotes"),
        ("a:\n\tb: 1\n", 2, "", "a tab cannot be used here", "indent with spaces"),
        ("a: 1\nb: [1, 2\n", 3, "", "flow sequence", ""),
        ("a: 1\nb: 'x\n", 3, "", "quoted scalar", ""),
        ("[" * 100_000, 1, "", "nested more than 64 deep", ""),
        ("a: 1\nb: " + "{x: " * 70 + "1" + "}" * 70, 2, "", "nested more than 64 deep", ""),
        ("- " * 100, 1, "", "nested more than 64 deep", ""),
        ("a: 1\n" + "#" * MAX_BYTES, 1, "", "larger than 1 MiB", "right file"),
    ],
    ids=lambda value: repr(value)[:20] if isinstance(value, str | bytes) else None,
)
def test_a_broken_file_is_refused_where_it_breaks(
    tmp_path: Path, content: str | bytes, line: int, path: str, message: str, hint: str
) -> None:
    """Line, YAML path, plain words and a hint for everything that this YAML leaves out."""
    ((found_line, found_path, found_message, found_hint),) = problems(tmp_path, content)
    assert (found_line, found_path) == (line, path)
    assert message in found_message
    assert hint in found_hint


def test_nesting_up_to_the_limit_is_read(tmp_path: Path) -> None:
    """64 levels are fine; the limit refuses what is one deeper."""
    deepest = "[" * 64 + "1" + "]" * 64
    assert str(read_document(write(tmp_path, deepest)).data) == deepest
    assert "nested more than 64 deep" in problems(tmp_path, f"[{deepest}]")[0][2]


def test_all_problems_of_form_come_at_once(tmp_path: Path) -> None:
    """A reader mends a file in one go."""
    found = problems(tmp_path, "a: &x 1\nb: *x\nc:\nd: !t 1\nd: 2\n3: 4\n")
    assert [line for line, *_ in found] == [1, 2, 3, 4, 5, 6]


def test_a_file_that_cannot_be_read_is_a_problem_and_no_traceback(tmp_path: Path) -> None:
    """Missing files and directories are told as such."""
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_document(path)
        (problem,) = caught.value.problems
        assert problem.file == str(path)
        assert "cannot be read" in problem.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(), st.text().map(str.encode), st.text("ab:-[]{}?&*!|>'\"%@#,~\n\t 01\\").map(str.encode)))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    """Nothing but ConfigError comes out of a file, whatever is in it."""
    with suppress(ConfigError):
        assert read_document(write(tmp_path, content)).line(()) >= 1


class Inner(BaseModel):
    """A section with one of each kind."""

    model_config = ConfigDict(extra="forbid")

    wait: Duration = Field(default=0, description="How long to wait.")
    count: int = Field(default=1, ge=1, lt=10)
    share: float = 0.5
    sure: bool = False
    kind: Literal["red", "green"] = "red"
    words: list[str] = []
    notes: dict[str, str] = {}
    either: int | dict[str, int] = 0
    even: int = 0

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise BadValueError(f"{value} is odd", hint="write an even number")
        return value


class Outer(BaseModel):
    """A file of sections."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What it is called.")
    inner: list[Inner] = []


def complaints(path: Path, content: str) -> list[Problem]:
    """What validation finds wrong."""
    file = write(path, content)
    with pytest.raises(ConfigError) as caught:
        validate(Outer, read_document(file))
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("entry", "path", "message", "hint"),
    [
        ("wiat: 1h", "inner[0].wiat", "unknown key `wiat`", "did you mean `wait`?"),
        ("zzz: 1", "inner[0].zzz", "unknown key `zzz`", "known here: count, either, even"),
        ("wait: 5", "inner[0].wait", "5 has no unit of time", "such as 14d"),
        ("count: '5'", "inner[0].count", "a whole number is wanted here, not '5'", "without quotes"),
        ("count: 007", "inner[0].count", "a whole number is wanted here, not '007'", "leading zeros"),
        ("count: 1.5", "inner[0].count", "a whole number is wanted here, not 1.5", ""),
        ("count: true", "inner[0].count", "a whole number is wanted here, not true", ""),
        ("count: 0", "inner[0].count", "0 is not at least 1", ""),
        ("count: 10", "inner[0].count", "10 is not less than 10", ""),
        ("share: x", "inner[0].share", "a number is wanted here, not 'x'", "plain digits"),
        ("sure: yes", "inner[0].sure", "true or false is wanted here, not 'yes'", "write true or false"),
        ("sure: 1", "inner[0].sure", "true or false is wanted here, not 1", ""),
        ("kind: gren", "inner[0].kind", "'gren' is not one of red, green", "did you mean `green`?"),
        ("kind: 5", "inner[0].kind", "5 is not one of red, green", ""),
        ("words: a", "inner[0].words", "a list is wanted here, not 'a'", "- "),
        ("words: [a, 5]", "inner[0].words[1]", "text is wanted here, not 5", '"5"'),
        ("words: [a, [b]]", "inner[0].words[1]", "text is wanted here, not a list", ""),
        ("notes: {a.b: 1}", 'inner[0].notes."a.b"', "text is wanted here, not 1", '"1"'),
        ("notes: [a]", "inner[0].notes", "a mapping of keys to values is wanted here, not a list", ""),
        ("either: {x: y}", "inner[0].either.x", "a whole number is wanted here, not 'y'", "plain digits"),
        ("even: 3", "inner[0].even", "3 is odd", "write an even number"),
    ],
)
def test_what_a_model_refuses_is_told_in_plain_words(
    tmp_path: Path, entry: str, path: str, message: str, hint: str
) -> None:
    """File, line, YAML path, message and hint; none of pydantic's own phrases."""
    found = complaints(tmp_path, f"name: x\ninner:\n  -\n    {entry}\n")
    mine = [problem for problem in found if problem.path == path]
    assert [(problem.file, problem.line) for problem in mine] == [(str(tmp_path / "some.yaml"), 4)]
    assert message in mine[0].message
    assert hint in (mine[0].hint or "")
    assert not any(phrase in str(found) for phrase in ("Input should", "Extra inputs", "type="))


def test_a_missing_key_is_told_at_its_parent_with_its_meaning(tmp_path: Path) -> None:
    """There is no line of its own; the description says what it would be."""
    (problem,) = complaints(tmp_path, "\ninner: []\n")
    assert (problem.line, problem.path, problem.message) == (2, "name", "`name` is missing")
    assert problem.hint == "What it is called."


def test_a_file_that_is_no_mapping_is_told_its_keys(tmp_path: Path) -> None:
    """A list at the top of a file of keys."""
    (problem,) = complaints(tmp_path, "- name: x\n")
    assert problem.message == "a mapping of keys to values is wanted here, not a list"
    assert problem.hint == "its keys are inner, name"


def test_problems_come_in_the_order_of_lines(tmp_path: Path) -> None:
    """The first problem in the file is the first in the list."""
    found = complaints(tmp_path, "zzz: 1\ninner:\n  - {count: 0, sure: on}\n  - wait: x\nname: 5\n")
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)
    assert len(found) == 5


def test_a_part_of_a_document_can_be_validated_with_its_whole_path(tmp_path: Path) -> None:
    """Paths and lines count from the file, not from the part."""
    document = read_document(write(tmp_path, "policies:\n  - count: 1\n  - count: 2\n    wait: 3d\n  - cuont: 3\n"))
    assert validate(Inner, document, ("policies", 1)).wait == 3 * 86_400_000_000
    with pytest.raises(ConfigError) as caught:
        validate(Inner, document, ("policies", 2))
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (5, "policies[2].cuont")
    assert str(problem).endswith("some.yaml:5 at policies[2].cuont: unknown key `cuont` (did you mean `count`?)")
