"""What a person at a terminal sees and is asked, and what a script without one gets."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from storaged.cli.render import printable
from tests.cli.lake import NAMES, PROGRAM, Lake
from tests.trials import SAME_DAY

PATIENCE_S = 240.0  # for what happens at once on a machine that has nothing else to do

DESTRUCTIVE: tuple[tuple[tuple[str, ...], Callable[[Lake], object]], ...] = (
    (("apply", "1"), lambda lake: (lake.fill(), lake.good("plan"))),
    (("rm", "lake/2026/*"), Lake.released),
    (("eject", "lake"), Lake.released),
    (("sweep",), lambda lake: (lake.moved(), lake.good("undo", "lake"))),
    (("undo", "--plan", "1"), Lake.moved),
    (("catalog", "claim"), Lake.fill),
    (("catalog", "reconcile"), Lake.fill),
)


@pytest.mark.parametrize(
    ("command", "prepare"), DESTRUCTIVE, ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_without_a_terminal_and_without_yes_nothing_is_destroyed(
    lake: Lake, command: tuple[str, ...], prepare: Callable[[Lake], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(lake)
    before = lake.state()
    with open(os.devnull, encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        answer = lake.ctl(*command)
        assert answer.code == 2
        assert "--yes" in answer.err
        assert lake.ctl(*command, "--json").json["error"]["exit_code"] == 2
    assert lake.state() == before


# MUST 9
@pytest.mark.parametrize(
    ("command", "prepare"),
    [
        (("undo", "lake"), Lake.moved),
        (("undo", "--job", "1"), Lake.moved),
        (("undo", "--plan", "1"), Lake.moved),
        (("sweep",), lambda lake: (lake.moved(), lake.good("undo", "lake"))),
        (("eject", "lake"), Lake.released),
        (("rm", "lake"), Lake.released),
        (("restage", "lake", "--tier", "warm"), Lake.released),
        (("restage", "lake", "--to-root"), Lake.released),
    ],
)
def test_a_dry_run_changes_nothing_and_tells_what_the_real_run_does(
    lake: Lake, command: tuple[str, ...], prepare: Callable[[Lake], object]
) -> None:
    prepare(lake)
    before = lake.state()
    text = lake.good(*command, "--dry-run").out
    assert f"{len(NAMES)}" in text
    assert lake.good(*command, "--dry-run", "--json").json["dry_run"] is True
    assert lake.state() == before


class Terminal:
    """A program with a terminal of its own, 80 columns wide."""

    def __init__(self, lake: Lake, *arguments: str, **environment: str) -> None:
        self.ours, theirs = pty.openpty()
        env = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        env |= SAME_DAY
        command = [*PROGRAM, "--config", str(lake.config), *arguments]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=env | {"COLUMNS": "80"} | environment
        )
        os.close(theirs)
        self.said = b""

    def wait_for(self, word: bytes) -> None:
        """Read until the program says this."""
        while word not in self.said and self._read():
            pass
        assert word in self.said, self.said

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def end(self) -> tuple[int, str]:
        """Its exit code, and all that it said."""
        while self._read():
            pass
        code = self.process.wait(PATIENCE_S)
        os.close(self.ours)
        return code, self.said.decode()

    def _read(self) -> bool:
        assert select.select([self.ours], [], [], PATIENCE_S)[0], "the program says nothing"
        try:
            data = os.read(self.ours, 65_536)
        except OSError:  # Linux: the other side is closed
            return False
        self.said += data
        return bool(data)


def test_a_person_is_asked_and_a_no_changes_nothing(lake: Lake) -> None:
    lake.fill()
    lake.good("plan")
    before = lake.state()
    asked = Terminal(lake, "apply", "1")
    asked.wait_for(b"[y/N]")
    asked.type(b"n\n")
    code, said = asked.end()
    assert (code, "nothing was changed" in said) == (1, True)
    assert lake.state() == before
    asked = Terminal(lake, "apply", "1")
    asked.wait_for(b"[y/N]")
    asked.type(b"\x04")  # end of input
    code, said = asked.end()
    assert (code, "error: interrupted" in said) == (130, True)
    assert lake.state() == before
    asked = Terminal(lake, "apply", "1")
    asked.wait_for(b"[y/N]")
    asked.type(b"y\n")
    assert asked.end()[0] == 0
    assert lake.good("plan", "--check").code == 0


def test_a_terminal_gets_no_control_characters_of_names(lake: Lake) -> None:
    lake.fill()
    _, said = Terminal(lake, "ls", "lake").end()
    assert "\x1b[31m" not in said
    assert "esc\\x1b[31m.csv" in said
    code, said = Terminal(lake, "--no-color", "plan").end()
    assert code == 0
    _, said = Terminal(lake, "--no-color", "plan", "show", "1").end()
    assert "\x1b[31m" not in said


def test_a_narrow_terminal_folds_and_loses_nothing(lake: Lake) -> None:
    name = "a-very-long-name-" * 8 + ".csv"
    lake.fill(name)
    code, said = Terminal(lake, "sql", f"SELECT object, '{'x' * 60}' AS y FROM v_objects", NO_COLOR="1").end()
    assert code == 0
    lines = said.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert said.count("x") == 60
    assert said.count("-") == name.count("-")


@pytest.mark.parametrize("form", ["table", "csv", "json", "jsonl"])
def test_an_answer_of_sql_cannot_move_the_cursor(lake: Lake, form: str) -> None:
    lake.fill()
    code, said = Terminal(lake, "--no-color", "sql", "SELECT object FROM v_objects", "--format", form).end()
    assert code == 0
    assert {c for c in said if not c.isprintable()} <= {"\n", "\r"}
    assert "[31m.csv" in said
    assert "\x1b" in lake.good("sql", "SELECT object FROM v_objects", "--format", "csv").out


def test_formulas_are_neutralised_where_that_is_asked_for(lake: Lake) -> None:
    lake.fill("=cmd.csv")
    query = ("sql", "SELECT object, -1 FROM v_objects", "--format", "csv")
    assert lake.good(*query).out.splitlines()[1] == "=cmd.csv,-1"
    assert lake.good(*query, "--spreadsheet").out.splitlines()[1] == '"\'=cmd.csv","-1"'
    assert lake.ctl("sql", "SELECT 1", "--spreadsheet").code == 2
    lake.good("sql", "SELECT 1", "--spreadsheet", "-o", str(lake.place / "rows.csv"))


def test_progress_is_shown_to_a_terminal_and_to_nobody_else(lake: Lake) -> None:
    lake.fill()
    code, said = Terminal(lake, "scan").end()
    assert code == 0
    assert "scan lake" in said
    assert lake.good("scan").err == ""
    _, said = Terminal(lake, "--quiet", "scan").end()
    assert "scan lake" not in said


def test_a_reader_that_goes_away_is_no_error(lake: Lake) -> None:
    lake.fill("a.csv")
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3000000) SELECT x FROM c"
    with lake.start("sql", endless, "--format", "csv") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"x\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_ctrl_c_ends_with_130_and_one_line(lake: Lake) -> None:
    lake.fill("a.csv")
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"

    def listen() -> None:  # whoever runs the tests in the background has it ignored, and a child inherits that
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with lake.start("sql", endless, "--format", "csv", stdout=subprocess.PIPE, preexec_fn=listen) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        while process.stdout.read(1 << 20):
            pass
        assert process.stderr.read() == b"error: interrupted\n"
        assert process.wait(60) == 130


def test_a_locale_that_cannot_show_a_name_still_gets_the_answer(lake: Lake) -> None:
    lake.fill()
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    with lake.start("ls", "lake", env=env) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"emoji \\U0001f600.csv" in said


def test_completion_knows_datasets_and_policies(lake: Lake, tmp_path: Path) -> None:
    def complete(words: str) -> str:
        line = f"storagectl --config {lake.config} {words}"
        env = {**os.environ, "_STORAGECTL_COMPLETE": "complete_bash", "COMP_WORDS": line}
        env["COMP_CWORD"] = str(len(line.split(" ")) - 1)
        return subprocess.run(PROGRAM, env=env, capture_output=True, text=True, timeout=60, check=False).stdout

    assert complete("scan l").split() == ["lake"]
    assert complete("collections l").split() == ["lake"]
    assert complete("plan --policy s").split() == ["shrink"]
    lake.config.write_text("not: [a configuration")
    assert complete("scan l").split() == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ö 😀", "plain ö 😀"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[2J\x07\x9b", "\\x1b[2J\\x07\\x9b"),
        ("a\u202etxt.exe", "a\\u202etxt.exe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_could_forge_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
