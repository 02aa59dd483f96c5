"""What commands share: the options of one call, and the arguments that mean the same wherever they stand."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from storaged.config.settings import Settings

LOOK, ACT, KEEP, SETUP = "Look", "Decide and act", "Keep safe", "Set up"  # panels of `storagectl --help`


@dataclass(slots=True)
class Options:
    """How this call was made. `lock_wait_s` is how long a statement waits for another process's lock (seconds)."""

    config: Path | None = None
    json: bool = False
    quiet: bool = False
    color: bool = True
    lock_wait_s: float = 30.0
    answered: bool = False  # JSON mode: the one document is on stdout already


def of(ctx: typer.Context) -> Options:
    """The options of the call that a command belongs to."""
    return ctx.ensure_object(Options)


def _want_json(ctx: typer.Context, value: bool) -> bool:
    """`--json` may stand before the command or after it, so that its value goes to the call."""
    if value:
        ctx.ensure_object(Options).json = True
    return value


def _datasets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of datasets, for the shell's completion. None where the configuration does not load."""
    from storaged.errors import StoragedError

    try:
        return [name for name in _settings(ctx).datasets if name.startswith(incomplete)]
    except StoragedError:
        return []


def _policies(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of policies, for the shell's completion. None where they do not load."""
    from storaged.decide.load import load_policies
    from storaged.errors import StoragedError

    try:
        settings = _settings(ctx)
        return [p.name for p in load_policies(settings.policies, settings) if p.name.startswith(incomplete)]
    except StoragedError:
        return []


def _settings(ctx: typer.Context) -> Settings:
    """A completion runs no callback, so that what was typed stands only in the root's parameters."""
    from storaged.config.settings import find_config, load_settings

    return load_settings(find_config(ctx.find_root().params.get("config_file"), os.environ))


JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        is_eager=True,
        callback=_want_json,
        show_default=False,
        help="Print one JSON document instead of text.",
    ),
]
ObjectArgument = Annotated[
    str, typer.Argument(metavar="OBJECT", help="DATASET/NAME of one object.", autocompletion=_datasets)
]
TargetsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET", help="DATASET, DATASET/NAME, or a glob over names in quotes.", autocompletion=_datasets
    ),
]
DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="Its name.", autocompletion=_datasets)]
DatasetsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATASET", help="Which datasets. Left out: all.", autocompletion=_datasets, show_default=False
    ),
]
PolicyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--policy", metavar="NAME", help="Only this policy; repeatable.", autocompletion=_policies, show_default=False
    ),
]
PolicyArgument = Annotated[str, typer.Argument(metavar="NAME", help="Its name.", autocompletion=_policies)]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would happen; change nothing.")]
NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Only queue the jobs; `storagectl work` or the daemon runs them.")
]


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what cannot be taken back. Raises UsageError without a terminal, StoragedError for a No."""
    from storaged.errors import StoragedError, UsageError

    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"{question.rstrip('?')}: this needs a yes, and there is no terminal to ask on",
            hint="run it again with --yes",
        )
    if not typer.confirm(question, err=True):
        raise StoragedError("nothing was changed: the answer was no")
