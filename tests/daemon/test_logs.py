"""One event is one line in every form, whatever users call their objects."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.stdlib import BoundLogger

from storaged.clock import iso
from storaged.daemon.logs import Form, Level, configure
from storaged.model import CodecSpec, JobState
from storaged.testing import FakeClock

FORMS: tuple[Form, ...] = ("text", "journal", "json")
NASTY = 'a\n<0>2026-01-01T00:00:00.000Z ERROR   gone\r\x1b[2J\x9b\u2028\u202e\x00\udcff" policy=x\\'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The process's logging as it was before."""
    root, ours = logging.getLogger(), logging.getLogger("storaged")
    before, level = list(root.handlers), ours.level
    yield
    for handler in [h for h in root.handlers if h not in before]:
        root.removeHandler(handler)
    ours.setLevel(level)


def logged(form: Form, tell: Callable[[BoundLogger], object], level: Level = "info") -> list[str]:
    stream = io.StringIO()
    tell(configure(form, stream, level, FakeClock(), {}))
    found = stream.getvalue()
    assert found == "" or found.endswith("\n")
    return found.split("\n")[:-1]  # not splitlines: what else may count as the end of a line must not be there


def test_text_is_time_level_event_and_what_is_known_of_it() -> None:
    found = logged("text", lambda log: log.info("object moved", object="a b", job=7, plan=None, codec="zstd:3"))
    assert found == ['2026-09-21T14:13:20.000Z INFO    object moved  object="a b" job=7 codec=zstd:3']


def test_the_journal_gets_priorities_and_no_times() -> None:
    def tell(log: BoundLogger) -> None:
        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(log, level)(level, job=1)

    assert logged("journal", tell, "debug") == [
        "<7>debug  job=1",
        "<6>info  job=1",
        "<4>warning  job=1",
        "<3>error  job=1",
        "<2>critical  job=1",
    ]


def test_json_is_one_object_a_line_with_time_level_and_event_first() -> None:
    facts = {"object": NASTY, "job": 7, "codec": CodecSpec("zstd", 3), "state": JobState.DONE, "plan": None}
    (line,) = logged("json", lambda log: log.warning("object skipped", **facts))
    found = json.loads(line)
    assert list(found) == ["time", "level", "event", "object", "job", "codec", "state"]
    assert found["time"] == "2026-09-21T14:13:20.000Z"
    assert (found["level"], found["event"]) == ("warning", "object skipped")
    assert (found["object"], found["job"], found["codec"], found["state"]) == (NASTY, 7, "zstd:3", "done")


@pytest.mark.parametrize("form", FORMS)
@given(name=st.text() | st.just(NASTY))
def test_no_name_of_an_object_makes_a_second_line_or_reaches_a_terminal_unescaped(form: Form, name: str) -> None:
    (line,) = logged(form, lambda log: log.info("object moved", object=name))
    assert line.isprintable()
    said, _, shown = line.partition("object moved  object=") if form != "json" else ("", "", "")
    assert "object=" not in said
    if form == "json":
        assert json.loads(line)["object"] == name
    elif not shown.startswith('"'):
        assert shown == name
    else:  # quoted whole: nothing in it can pass for a key of ours
        assert re.fullmatch(r'"([^"\\]|\\.)*"', shown)


@given(one=st.text(), other=st.text())
def test_two_names_never_look_the_same(one: str, other: str) -> None:
    lines = [logged("text", lambda log, name=name: log.info("event", object=name)) for name in (one, other)]  # type: ignore[misc]
    assert (lines[0] == lines[1]) == (one == other)


@pytest.mark.parametrize("form", FORMS)
def test_a_traceback_cannot_pass_for_lines_of_the_log(form: Form) -> None:
    def tell(log: BoundLogger) -> None:
        try:
            raise ValueError(NASTY)
        except ValueError as error:
            log.error("fault", exc_info=error)

    first, *more = logged(form, tell)
    assert "fault" in first
    if form == "json":
        assert more == []
        assert "Traceback" in json.loads(first)["exception"]
    else:
        assert len(more) > 3
        assert all(line.startswith({"text": "    ", "journal": "<3>    "}[form]) for line in more)
        assert all(line.isprintable() for line in more)


@pytest.mark.parametrize("form", FORMS)
def test_what_libraries_log_comes_out_the_same_way_from_warnings_on(form: Form) -> None:
    def tell(_log: BoundLogger) -> None:
        library = logging.getLogger("apscheduler.executors")
        library.setLevel(logging.DEBUG)
        try:
            library.debug("no")
            library.info("no")
            library.warning("%s missed by %d s\nand more", "job", 3)
            library.log(35, "of a level that only it has")
        finally:
            library.setLevel(logging.NOTSET)

    found = logged(form, tell, "debug")
    assert len(found) == 2
    if form == "json":
        assert json.loads(found[0])["event"] == "job missed by 3 s\nand more"
        assert json.loads(found[0])["logger"] == "apscheduler.executors"
    else:
        assert found[0].endswith(r"job missed by 3 s\nand more  logger=apscheduler.executors")
    assert ("<4>" in found[1]) == (form == "journal")


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_says_what_is_told(level: Level, lines: int) -> None:
    def tell(log: BoundLogger) -> None:
        for name in ("debug", "info", "warning", "error"):
            getattr(log, name)("event")

    assert len(logged("text", tell, level)) == lines


def test_times_are_those_of_the_clock() -> None:
    stream, clock = io.StringIO(), FakeClock()
    log = configure("json", stream, "info", clock, {})
    clock.advance(90.25)
    log.info("event")
    said = json.loads(stream.getvalue())["time"]
    assert said.endswith(".250Z")
    assert said[:19] == str(iso(clock.now_us()))[:19]


def test_a_second_configuration_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("text", first, "info", FakeClock(), {})
    configure("text", second, "info", FakeClock(), {}).info("event")
    logging.getLogger("library").warning("warning")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 2


@pytest.mark.parametrize(
    ("stream", "environ", "coloured"),
    [
        (Terminal, {"TERM": "xterm"}, True),
        (Terminal, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {"TERM": "xterm"}, False),
    ],
)
def test_only_a_terminal_that_wants_them_gets_colours(
    stream: type[io.StringIO], environ: dict[str, str], coloured: bool
) -> None:
    to = stream()
    configure("text", to, "info", FakeClock(), environ).warning("event", object="\x1b[31m")
    assert ("\x1b[" in to.getvalue()) == coloured
    assert "\x1b[31m" not in to.getvalue().partition("event")[2]


def test_auto_is_the_journal_only_where_the_stream_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream:
        st_ = os.fstat(stream.fileno())
        configure("auto", stream, "info", FakeClock(), {"JOURNAL_STREAM": f"{st_.st_dev}:{st_.st_ino}"}).info("journal")
        configure("auto", stream, "info", FakeClock(), {"JOURNAL_STREAM": f"{st_.st_dev}:{st_.st_ino + 1}"}).info("no")
        configure("auto", stream, "info", FakeClock(), {}).info("no")
    first, *others = path.read_text().splitlines()
    assert first == "<6>journal"
    assert [line.endswith("INFO    no") for line in others] == [True, True]
    assert [line.endswith("INFO    no") for line in logged("auto", lambda log: log.info("no"))] == [True]
