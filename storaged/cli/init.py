"""init: a configuration to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, printable
from storaged.errors import StoragedError, UsageError


def init(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Where to write it. Left out: --config, else storaged.yaml.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    _json: JsonOption = False,
) -> None:
    """Write a commented storaged.yaml to start from.

    Example: storagectl init
    """
    from storaged.config.starter import starter_text

    options = of(ctx)
    path = file or options.config or Path("storaged.yaml")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(starter_text())
    except FileExistsError:
        raise UsageError(f"{path} exists already", hint="--force overwrites it") from None
    except OSError as error:
        raise StoragedError(f"{path} cannot be written: {error.strerror}") from error
    Output(options).show(
        {"file": str(path.absolute())},
        f"wrote {printable(str(path))}: edit it, then run `storagectl config check` and `storagectl catalog create`",
    )
