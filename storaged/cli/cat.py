"""cat: an object's content, wherever it is."""

from __future__ import annotations

import sys

import typer

from storaged.cli.options import JsonOption, ObjectArgument, of

_PIECE = 4 << 20  # bytes


def cat(ctx: typer.Context, target: ObjectArgument, _json: JsonOption = False) -> None:
    """Write an object's content to stdout, whatever tier and codec it is in. It counts as a read.

    --json changes only how errors are told.

    Example: storagectl cat flights/2026/01.csv > 01.csv
    """
    from storaged.cli.context import opened
    from storaged.reader import CatalogReader

    with opened(of(ctx)) as context, CatalogReader(context).open(target) as content:
        of(ctx).answered = True  # from here on stdout is the content's
        offset = 0
        while data := content.read_at(offset, _PIECE):
            sys.stdout.buffer.write(data)
            offset += len(data)
            content.delivered = offset
        sys.stdout.buffer.flush()
