"""A test that takes too long ends with its process if nothing else ends it. xdist tells which one it was, and goes on
in a new process.

pytest-timeout raises in the main thread, which takes the GIL. Where a thread stands in C code and keeps it, nothing
happens, for ever. faulthandler waits in a thread of C that needs no GIL.
"""

from __future__ import annotations

import faulthandler
import os
from typing import Any, Final

import pytest

PATIENCE: Final = 1.5  # of a test's timeout: pytest-timeout comes first where it can
_stderr = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Where stacks are written to, though what tests write is captured."""
    config.stash[_stderr] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    faulthandler.cancel_dump_traceback_later()
    os.close(config.stash[_stderr])


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    faulthandler.dump_traceback_later(settings.timeout * PATIENCE, exit=True, file=item.config.stash[_stderr])


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> None:
    faulthandler.cancel_dump_traceback_later()
