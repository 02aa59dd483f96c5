"""Command lines as a person at a terminal of a given width sees them, run in this process."""

from __future__ import annotations

import os
import pty
import re
import sys
import threading
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from unittest import mock

from storaged.cli.app import run
from tests.cli.lake import Answer, Lake

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class _Screen:
    """One side of a pty that collects what is written to the other."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.said = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 65_536):
                self.said += data
        except OSError:  # Linux: the other side is closed
            return

    def text(self) -> str:
        """All that was written. The other side must be closed."""
        self._reader.join(60)
        os.close(self._ours)
        return self.said.decode().replace("\r\n", "\n")


def seen(lake: Lake, *arguments: str, columns: int, **environment: str) -> Answer:
    """A command line whose stdout and stderr are terminals that wide; raw, with its control sequences."""
    screens = _Screen(), _Screen()
    wanted = {"TERM": "xterm-256color", "COLUMNS": str(columns), **environment}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, wanted))
        out, err = (stack.enter_context(open(s.theirs, "w", encoding="utf-8", newline="\n")) for s in screens)
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        assert sys.stdout.isatty()
        code = run(["--config", str(lake.config), *arguments])
    return Answer(code, *(s.text() for s in screens))


def without_control(text: str) -> str:
    """The text that stays on the screen."""
    return _CONTROL.sub("", text)
