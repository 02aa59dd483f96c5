"""The one place where errors become words and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

from typer.exceptions import Abort, TyperException

from storaged.cli.options import Options
from storaged.cli.render import print_json, printable, tell
from storaged.errors import ConfigError, Problem, StoragedError
from storaged.masking import masked

INTERNAL: Final = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count
BROKEN_PIPE: Final = 1

EXIT_CODES: Final[dict[int, str]] = {
    0: "Done.",
    1: "It failed: a store refused, an object is missing, content is damaged.",
    2: "The command, storaged.yaml or a policy asks for what cannot be.",
    3: "It ran to its end; some objects failed or were left as they were.",
    4: "`plan --check` or `doctor` found something to do.",
    5: "A guard refused: a hold, a pin, the grace, or who reads.",
    6: "A root that had objects shows none, or far fewer: confirm first.",
    7: "The object is in an archive class: `storagectl warm` it, and come back.",
    10: "The catalog is missing, cannot be written, or has another schema.",
    11: "The catalog is locked by another process.",
    12: "The catalog is an old copy, or its journal lacks entries: reconcile it.",
    13: "A tier or root is another catalog's, not mounted, or exchanged.",
    14: "A rebuilt catalog may lack something: its journal has a hole.",
    INTERNAL: "A fault in storaged itself: please report it.",
    INTERRUPTED: "Interrupted.",
}

_REPORT: Final = "this is a fault in storaged; set STORAGED_DEBUG=1 for the traceback and report it"


def guarded(run: Callable[[], int], options: Options) -> int:
    """Run a command; whatever it raises becomes a message on stderr (JSON: one document on stdout) and an exit code."""
    try:
        code = run()
        sys.stdout.flush()
    except StoragedError as error:
        problems = error.problems if isinstance(error, ConfigError) else ()
        _tell(options, type(error).__name__, error.message, error.hint, error.exit_code, problems)
        return error.exit_code
    except TyperException as error:
        return _tell_usage(options, error)
    except BrokenPipeError:
        return _pipe_closed()
    except SystemExit as error:  # typer's way out of a closed pipe, and of --help and completion
        return _pipe_closed() if error.code == BROKEN_PIPE else int(error.code or 0)
    except (KeyboardInterrupt, Abort) as error:  # Abort: at a question
        if isinstance(error.__cause__, EOFError):  # typer takes a file that ends too early for somebody's Ctrl-D
            return _internal(options, error.__cause__)
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last line of defence: a user never sees a traceback
        return _internal(options, error)
    if code == INTERRUPTED:
        _tell(options, "Interrupted", "interrupted", None, INTERRUPTED, ())
    return code


def _internal(options: Options, error: Exception) -> int:
    if os.environ.get("STORAGED_DEBUG"):
        sys.stderr.write(masked("".join(traceback.format_exception(error))))
    _tell(options, type(error).__name__, _first_line(error), _REPORT, INTERNAL, ())
    return INTERNAL


def _tell(
    options: Options, kind: str, message: str, hint: str | None, code: int, problems: tuple[Problem, ...]
) -> None:
    if options.json and not options.answered:
        facts: dict[str, Any] = {"kind": kind, "message": message, "hint": hint, "exit_code": code}
        if problems:
            facts["problems"] = [
                {"file": p.file, "line": p.line, "path": p.path, "message": p.message, "hint": p.hint} for p in problems
            ]
        print_json({"error": facts})
        sys.stdout.flush()
        return
    lines = [f"error: {printable(message)}"]
    for problem in problems:
        lines.append(f"  {printable(f'{problem.where}: {problem.message}')}")
        if problem.hint:
            lines.append(f"    hint: {printable(problem.hint)}")
    if hint:
        lines.append(f"  hint: {printable(hint)}")
    for line in lines:
        tell(line, sys.stderr)


def _tell_usage(options: Options, error: TyperException) -> int:
    ctx = getattr(error, "ctx", None)
    message = error.format_message()
    if not message:  # a group without a command: its help is the answer
        message = "a command is missing"
    hint = f"`{ctx.command_path} --help` tells how it is used" if ctx is not None else None
    _tell(options, "UsageError", message[:1].lower() + message[1:].rstrip("."), hint, 2, ())
    return 2


def _first_line(error: Exception) -> str:
    text = masked(str(error)).strip().split("\n", 1)[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _pipe_closed() -> int:
    """Nobody reads on. Python would complain at its end when it flushes what nobody takes."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return BROKEN_PIPE
