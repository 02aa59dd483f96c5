"""ls: what the catalog has, as its readers see it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import json_list, printable, size, when
from storaged.clock import iso
from storaged.errors import ObjectNotFound

if TYPE_CHECKING:
    from storaged.opened import Shown
    from storaged.reader import CatalogReader


def ls(
    ctx: typer.Context,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="Where to look, or a glob in quotes. Left out: the datasets.", show_default=False
        ),
    ] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Every object below, however deep.")] = False,
    _json: JsonOption = False,
) -> None:
    """List datasets, folders and objects under the names that readers use.

    JSON: a list of objects and folders.

    Example: storagectl ls flights/2026
    """
    from storaged.cli.context import opened
    from storaged.reader import CatalogReader

    with opened(of(ctx)) as context:
        entries = _entries(CatalogReader(context), path.lstrip("/"), recursive)
        if of(ctx).json:
            json_list(_facts(e) for e in entries)
        else:
            _print(entries)


def _entries(reader: CatalogReader, path: str, recursive: bool) -> Iterator[Shown | str]:
    folder = path.removesuffix("/")
    if reader.is_folder(folder):
        yield from reader.under(folder) if recursive else reader.children(folder)
        return
    try:
        yield reader.look(path)
    except ObjectNotFound:
        plain, *glob = re.split(r"(?=[*?\[])", path, maxsplit=1)
        found = list(_matching(reader, plain.rpartition("/")[0], folder)) if glob else []
        if not found:
            raise
        yield from found


def _matching(reader: CatalogReader, top: str, glob: str) -> Iterator[Shown | str]:
    """Below a folder the objects that a glob names, however deep; at the top datasets, else objects."""
    datasets = [] if top else [name for name in sorted(reader.context.datasets) if fnmatchcase(name, glob)]
    yield from datasets
    if not datasets and reader.is_folder(top):
        yield from (entry for entry in reader.under(top) if fnmatchcase(entry.path, glob))


def _facts(entry: Shown | str) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"path": entry, "type": "folder"}
    told = entry._asdict()
    told["modified_at"], told["created_at"] = iso(told.pop("mtime_us")), iso(told.pop("created_us"))
    return {"path": entry.path, "type": "object", **told}


def _print(entries: Iterable[Shown | str]) -> None:
    """One line each as it comes: a dataset may have more objects than fit into a table."""
    for e in entries:
        if isinstance(e, str):
            typer.echo(f"{'':>10}  {'':20}  {'':12}  {printable(e)}/")
        else:
            place = f"{e.tier} {e.codec}"
            typer.echo(f"{size(e.size):>10}  {when(e.mtime_us):20}  {place:12}  {printable(e.path)}")
