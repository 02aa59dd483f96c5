"""The daemon's log: one line for each event, for people, for journald or for programs.

Names of objects are chosen by users, so in every form what could end a line, forge another or move a cursor is escaped.
What libraries tell by the standard `logging` comes out the same way, from warnings on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.dev import RESET_ALL, ConsoleRenderer
from structlog.stdlib import BoundLogger, ProcessorFormatter, add_log_level, add_logger_name, filter_by_level
from structlog.typing import EventDict, Processor

from storaged.clock import Clock, to_datetime
from storaged.masking import masked

Form = Literal["auto", "text", "journal", "json"]
Level = Literal["debug", "info", "warning", "error"]

NAME: Final = "storaged"  # of our own logger
_PRIORITY: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # sd-daemon(3)


def configure(form: Form, stream: TextIO, level: Level, clock: Clock, environ: Mapping[str, str]) -> BoundLogger:
    """Let everything be logged to `stream` from now on, and return the logger. A second call replaces the first.

    `auto` is `journal` where `stream` goes to journald, as $JOURNAL_STREAM says, else `text`; text is coloured on a
    terminal unless $NO_COLOR is set. The journal has its own times and gets none.
    """
    if form == "auto":
        form = "journal" if _is_journal(stream, environ) else "text"
    handler = _Handler(stream)
    handler.addFilter(lambda record: record.name == NAME or record.levelno >= logging.WARNING)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[add_log_level, add_logger_name],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _Timed(clock),
                _RENDERERS[form](stream, environ),
            ],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    ours = logging.getLogger(NAME)
    ours.setLevel(level.upper())
    log: BoundLogger = structlog.wrap_logger(
        ours,
        processors=[filter_by_level, add_log_level, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=BoundLogger,
    )
    return log


class _Handler(logging.StreamHandler[TextIO]):
    """Ours among the handlers of the root logger. What libraries say goes through it too: secrets are hidden here."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines, of one event."""
        return masked(super().format(record))


class _Timed:
    """Puts time, level and event first and leaves out what is not known."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: object, _name: str, event: EventDict) -> EventDict:
        now = to_datetime(self._clock.now_us()).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        first = {"time": now, "level": event.pop("level"), "event": event.pop("event")}
        return first | {key: value for key, value in event.items() if value is not None}


class _Text:
    """time LEVEL event  key=value …, and a traceback in lines that begin with spaces."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        coloured = stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._styles = ConsoleRenderer.get_default_level_styles() if coloured else {}

    def __call__(self, _logger: object, _name: str, event: EventDict) -> str:
        time, level = event.pop("time"), event.pop("level")
        style = self._styles.get(level, "")
        shown = f"{style}{level.upper():<7}{RESET_ALL if style else ''}"
        return "\n".join(f"{time} {shown} {line}" if n == 0 else line for n, line in enumerate(_lines(event)))


class _Journal:
    """<priority>event  key=value …: journald takes the priority off every line."""

    def __init__(self, _stream: TextIO, _environ: Mapping[str, str]) -> None:
        pass

    def __call__(self, _logger: object, _name: str, event: EventDict) -> str:
        del event["time"]
        priority = _PRIORITY.get(event.pop("level"), 4)  # libraries may have levels of their own
        return "\n".join(f"<{priority}>{line}" for line in _lines(event))


def _json(_stream: TextIO, _environ: Mapping[str, str]) -> Processor:
    return structlog.processors.JSONRenderer(default=str)  # ASCII, so that it escapes all that is to be escaped


_RENDERERS: Final[dict[str, Any]] = {"text": _Text, "journal": _Journal, "json": _json}


def _lines(event: EventDict) -> list[str]:
    said, trace = _escaped(str(event.pop("event"))), event.pop("exception", "")
    facts = " ".join(f"{key}={_value(value)}" for key, value in event.items())
    first = f"{said}  {facts}" if facts else said
    return [first, *(f"    {_escaped(line)}" for line in trace.splitlines())]


def _value(value: object) -> str:
    text = str(value)
    if text and not any(c in ' ="\\' for c in text) and text.isprintable():
        return text
    return '"' + _escaped(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    try:
        st = os.fstat(stream.fileno())
    except OSError:  # it has no file behind it
        return False
    return environ.get("JOURNAL_STREAM") == f"{st.st_dev}:{st.st_ino}"
