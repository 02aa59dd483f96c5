"""advise: what would save how much, and the policies for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.advice import blocks, facts, next_words, tell_object
from storaged.cli.options import JsonOption, Options, of
from storaged.cli.policy import load_and_warn
from storaged.cli.progress import progress
from storaged.cli.render import Output, printable
from storaged.cli.scan import chosen
from storaged.cli.table import Table
from storaged.errors import StoragedError, UsageError

if TYPE_CHECKING:
    from storaged.work.advise.one import ObjectAdvice
    from storaged.work.advise.run import Advice
    from storaged.work.context import Context


def advise(
    ctx: typer.Context,
    datasets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATASET", help="Which datasets, or DATASET/NAME of one object. Left out: all.", show_default=False
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", metavar="DIR", show_default=False, help="Put the policies there, each in a file, as dry runs."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", show_default=False, help="Write it as one page, too.")
    ] = None,
    atime: Annotated[
        bool,
        typer.Option("--atime", help="Tell when local files were last opened, too. No policy goes by it."),
    ] = False,
    _json: JsonOption = False,
) -> None:
    """Say what there is, what each form would make of it, and which policies pay, with their dollars. Changes nothing.

    Reads samples of a few objects of each kind. The money is that of the plan that these policies make.

    Example: storagectl advise flights --write policies
    """
    from storaged.cli.context import opened
    from storaged.work.plan.configured import take_in

    options = of(ctx)
    with opened(options) as context:
        take_in(context)
        if any("/" in name for name in datasets or ()):
            tell_object(options, _one(context, datasets or [], write, html, atime=atime))
            return
        advice = found(context, options, chosen(context, datasets), atime=atime)
    tell(options, advice, write=write, html=html)


def _one(context: Context, named: list[str], write: Path | None, html: Path | None, *, atime: bool) -> ObjectAdvice:
    from storaged.work import targets
    from storaged.work.advise.one import advise_object

    if len(named) > 1 or write is not None or html is not None or atime:
        raise UsageError("of an object there are no policies to write", hint="name one object and nothing else")
    dataset, name = targets.split(context, named[0])
    if name is None:
        raise UsageError(f"{named[0]!r} names no object", hint=f"{dataset}/OBJECT, or {dataset} for all of it")
    return advise_object(context, dataset, name)


def found(context: Context, options: Options, names: list[str], *, atime: bool = False) -> Advice:
    """The advice for these datasets."""
    from storaged.work.advise.run import advise as run_advise

    policies = load_and_warn(Output(options), context.settings)
    with progress(options, "advise", unit="steps") as bar:
        return run_advise(context, names, policies, atime=atime, progress=bar)


def tell(
    options: Options,
    advice: Advice,
    *,
    write: Path | None,
    html: Path | None,
    more: Mapping[str, Any] = MappingProxyType({}),
    before: Iterable[str | Table] = (),
    after: Iterable[str] | None = None,
) -> None:
    """Show advice, and write what was asked for. `more`, `before`, `after`: facts, blocks and last words of whoever
    asked for it."""
    out = Output(options)
    written = _written(advice, write) if write is not None else []
    if html is not None:
        _page(advice, html)
        out.note(f"wrote {printable(str(html))}")
    told = {**more, **facts(advice), "written": written}
    last = next_words(advice, written) if after is None else ("", *after)
    out.show(told, *before, *blocks(advice), *last)


def _written(advice: Advice, directory: Path) -> list[str]:
    """The files that were written. Raises UsageError where one is there that says something else, before any is."""
    texts = {directory / f"{p.draft.name}.yaml": p.draft.text for p in advice.proposals}
    try:
        other = [path for path, text in texts.items() if path.exists() and path.read_text("utf-8") != text]
        if other:
            raise UsageError(f"{other[0]} is there and says something else", hint="move it away, or write elsewhere")
        directory.mkdir(parents=True, exist_ok=True)
        fresh = [path for path in texts if not path.exists()]
        for path in fresh:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(texts[path])
    except (OSError, UnicodeDecodeError) as error:
        raise StoragedError(f"the policies cannot be written to {directory}: {error}") from error
    return [str(path) for path in fresh]


def _page(advice: Advice, file: Path) -> None:
    from storaged.cli.advice_page import page

    try:
        file.write_text(page(advice), "utf-8")
    except OSError as error:
        raise StoragedError(f"{file} cannot be written: {error.strerror}") from error
