"""cat: an object's content, wherever it is."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from storaged.cli.options import JsonOption, ObjectArgument, of

_PIECE = 4 << 20  # bytes


def cat(
    ctx: typer.Context,
    target: ObjectArgument,
    generation: Annotated[
        int | None,
        typer.Option(
            "--generation",
            metavar="N",
            help="An older one that is kept: `storagectl overwritten` lists them.",
            show_default=False,
        ),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Write an object's content to stdout, whatever tier and codec it is in. It counts as a read.

    --json changes only how errors are told.

    Example: storagectl cat flights/2026/01.csv > 01.csv

    Example: storagectl cat flights/2026/01.csv --generation 1 > old.csv
    """
    from storaged.cli.context import opened
    from storaged.reader import CatalogReader

    if generation is not None:
        _older(ctx, target, generation)
        return
    with opened(of(ctx)) as context, CatalogReader(context).open(target) as content:
        of(ctx).answered = True  # from here on stdout is the content's
        offset = 0
        while data := content.read_at(offset, _PIECE):
            sys.stdout.buffer.write(data)
            offset += len(data)
            content.delivered = offset
        sys.stdout.buffer.flush()


def _older(ctx: typer.Context, target: str, generation: int) -> None:
    from storaged.cli.context import opened
    from storaged.work import targets
    from storaged.work.rewrite.overwritten import open_generation

    with opened(of(ctx)) as context, open_generation(context, targets.one(context, target), generation) as content:
        of(ctx).answered = True
        for data in content.chunks():
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
