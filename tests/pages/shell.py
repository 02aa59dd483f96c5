"""Types what a page shows: storagectl in this process, on a clock that `sleep` moves; everything else in a shell."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from storaged.cli.app import run
from storaged.clock import SystemClock
from tests.pages.blocks import Section, Shown, Written, differs

BIN = Path(sys.executable).parent
_DAYS_LATER = re.compile(r"sleep (\d+)([dhms]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Shell:
    """A shell in `place`, where the page's own paths (`moved`: /srv) lie below the test's directory.

    `stands_for` has, by the page's command, what the test does in its place. `slept`: seconds by which it is later.
    """

    def __init__(
        self,
        place: Path,
        patch: pytest.MonkeyPatch,
        *,
        moved: Mapping[str, Path] | None = None,
        more_config: str = "",
        environment: Mapping[str, str] | None = None,
        stands_for: Mapping[str, Callable[[], None]] | None = None,
        skipped: Mapping[str, str] | None = None,
    ) -> None:
        self.place = place
        self.slept = 0
        self._moved = dict(moved or {})
        self._more_config = more_config
        self._stands_for = dict(stands_for or {})
        self._skipped = dict(skipped or {})
        real = SystemClock.now_us
        patch.setattr(SystemClock, "now_us", lambda clock: real(clock) + self.slept * 1_000_000)
        patch.chdir(place)
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        patch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
        self.ran = 0

    def go(self, section: Section) -> None:
        """Every file and command of a section, in their order. Fails the test at the first that is not as shown."""
        for step in section.steps:
            if isinstance(step, Written):
                self.write(step)
            elif step.text in self._stands_for or not any(re.match(p, step.text) for p in self._skipped):
                self.type(step)

    def write(self, file: Written) -> None:
        """A file that the page shows."""
        path = self.place / file.name
        path.parent.mkdir(exist_ok=True)
        path.write_text(self._here(file.text) + (self._more_config if file.name == "storaged.yaml" else ""))

    def type(self, shown: Shown) -> None:
        """One command."""
        text = self._here(shown.text)
        code, out, err = 0, "", ""
        if later := _DAYS_LATER.fullmatch(text):
            self.slept += int(later[1]) * _UNITS[later[2]]
        elif shown.text in self._stands_for:
            self._stands_for[shown.text]()
        elif text.startswith("storagectl ") and not re.search(r"[|<>;&]", text):
            code, out, err = self._storagectl(shlex.split(text)[1:])
        else:
            ran = subprocess.run(["/bin/sh", "-c", text], cwd=self.place, capture_output=True, text=True, check=False)
            code, out, err = ran.returncode, ran.stdout, ran.stderr
        where = f"line {shown.line}: {shown.text}"
        assert code == shown.code, f"{where}\nexit code {code}, not {shown.code}\n{out}{err}"
        if shown.output is not None:
            reason = differs(shown.output, self._there(err + out if code else out))
            assert not reason, f"{where}\n{reason}"
        self.ran += 1

    def _storagectl(self, words: list[str]) -> tuple[int, str, str]:
        stored = BytesIO(), BytesIO()
        out, err = (TextIOWrapper(each, "utf-8", newline="\n", write_through=True) for each in stored)
        with redirect_stdout(out), redirect_stderr(err):
            code = run(words)
        if words[0] == "init":  # the starter has paths of the page's machine too
            path = self.place / "storaged.yaml"
            path.write_text(self._here(path.read_text()))
        return code, stored[0].getvalue().decode(), stored[1].getvalue().decode()

    def _here(self, text: str) -> str:
        for page, place in self._moved.items():
            text = re.sub(rf"(?<![\w.-]){re.escape(page)}(?=/|\b)", str(place), text)
        return text

    def _there(self, text: str) -> str:
        for page, place in self._moved.items():
            text = text.replace(str(place), page)
        return text
