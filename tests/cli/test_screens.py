"""Every command at a terminal of 80 and of 200 columns: nothing is wider, cut off, or coloured for who wants none."""

from __future__ import annotations

import json
import re

import pytest
from rich.cells import cell_len

from tests.cli.lake import Answer, Lake
from tests.cli.screen import seen, without_control
from tests.cli.test_commands import WORDS

STYLE = re.compile(r"\x1b\[[0-9;]*m")
COLOUR = re.compile(r"\x1b\[(\d+;)*([349]|10)[0-8](;\d+)*m")
MORE = (("top", "--once"), ("doctor",), ("plan", "show", "1", "--held"), ("job", "show", "1", "--timings"))
# A document to be stored as it is, and a file's own text.
WHOLE = {("config", "schema"), ("policy", "schema"), ("policy", "show", "shrink"), ("policy", "history", "shrink")}


@pytest.fixture
def planned(lake: Lake) -> Lake:
    """A scanned lake with the plans 1 and 2, and names as they come."""
    lake.fill("2026/01.csv", "2026/02.csv", "a-long-name-" * 9 + "/" + "x" * 120 + ".csv", "emoji 😀 字.csv")
    lake.good("plan")
    lake.good("plan")
    return lake


def lines(answer: Answer) -> list[str]:
    """The lines that stay on the screen: progress is written over."""
    text = without_control(answer.out) + without_control(answer.err)
    return [line.rpartition("\r")[2] for line in text.splitlines()]


def ends_in_a_path(line: str, columns: int) -> bool:
    """A path that is too long stays whole, to be copied: alone on its line, or as the end of a line of `ls`."""
    *others, last = line.split()
    return "/" in last and len(" ".join(others)) < columns


@pytest.mark.parametrize("columns", [80, 200])
def test_no_line_of_any_command_is_wider_than_the_terminal(planned: Lake, columns: int) -> None:
    wide = []
    for words in (*WORDS, *MORE):
        answer = seen(planned, *words, columns=columns)
        assert answer.code in (0, 1), answer
        if words not in WHOLE:
            wide += [
                (words, line)
                for line in lines(answer)
                if cell_len(line) > columns and not ends_in_a_path(line, columns)
            ]
    assert wide == []


def test_wider_terminals_and_pipes_leave_out_nothing_that_a_narrow_one_shows(planned: Lake) -> None:
    """Every word of a narrow screen stands in what a pipe gets; a path there may have lost its middle."""
    planned.good("apply", "1", "--yes")
    for words in (("jobs",), ("plan", "list"), ("status",), ("cost",), ("policy", "list"), ("catalog", "info")):
        piped = planned.good(*words).out.split()
        narrow = [word for word in " ".join(lines(seen(planned, *words, columns=80))).split() if "…" not in word]
        told = {word.strip(",:") for word in piped} | {"left", "out", "here"}
        assert narrow
        for word in narrow:
            assert word.strip(",:") in told or not word.strip(",:").isalnum(), (words, word)


@pytest.mark.parametrize("how", ["NO_COLOR", "--no-color", "TERM=dumb"])
def test_who_wants_no_colour_gets_none(planned: Lake, how: str) -> None:
    environment = {"NO_COLOR": {"NO_COLOR": "1"}, "TERM=dumb": {"TERM": "dumb"}}.get(how, {})
    flag = ["--no-color"] if how == "--no-color" else []
    coloured = 0
    for words in (("status",), ("plan",), ("scan",), ("explain", "lake/2026/01.csv"), ("plan", "show", "99")):
        answer = seen(planned, *flag, *words, columns=80, **environment)
        assert not STYLE.search(answer.out + answer.err), words
        with_colours = seen(planned, *words, columns=80)
        coloured += bool(STYLE.search(with_colours.out + with_colours.err))
    assert coloured  # there is something to take away


def test_help_has_colours_where_they_are_wanted_only(lake: Lake) -> None:
    assert COLOUR.search(seen(lake, "--help", columns=80).out)
    assert not COLOUR.search(seen(lake, "--help", columns=80, NO_COLOR="1").out)


def test_json_at_a_terminal_is_one_document_without_colours_or_progress(planned: Lake) -> None:
    for words in (("scan",), ("plan",), ("status",), ("apply", "1", "--yes"), ("verify",)):
        answer = seen(planned, *words, "--json", columns=80)
        assert isinstance(json.loads(answer.out), dict), words
        assert answer.err == "", words
