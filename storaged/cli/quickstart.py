"""quickstart: from nothing to advice."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from storaged.cli.advise import found, tell
from storaged.cli.options import JsonOption, Options, of
from storaged.cli.render import Output, printable
from storaged.cli.scan import end_with, scan_all
from storaged.cli.scan import facts as scan_facts
from storaged.cli.scan import table as scan_table
from storaged.errors import CatalogMissing, StoragedError, UsageError

if TYPE_CHECKING:
    from storaged.catalog.engine import Catalog
    from storaged.config.quick import Quick
    from storaged.config.settings import Settings
    from storaged.work.context import Context

_DIRECTORY_PRICES: Final = "local/example/disk"
_BUCKET_PRICES: Final = "aws/us-east-1"
_STATE: Final = "storaged-state"
_NONE: Final = "none"


def quickstart(
    ctx: typer.Context,
    place: Annotated[
        str, typer.Argument(metavar="PATH|URL", help="A directory, or a bucket such as s3://bucket/prefix.")
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="DATASET", show_default=False, help="What to call it. Left out: its last part."),
    ] = None,
    prices: Annotated[
        str | None,
        typer.Option(
            "--prices",
            metavar="ID",
            show_default=False,
            help="What it costs: of a directory a price book's class, of a bucket PROVIDER/REGION; none: unknown.",
        ),
    ] = None,
    readers: Annotated[
        str | None,
        typer.Option(
            "--readers",
            metavar="WHO",
            show_default=False,
            help="Who opens its files: raw (programs, by their paths) or storaged.",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            show_default=False,
            help="Where catalog and tiers are made. Left out: storaged-state beside storaged.yaml.",
        ),
    ] = None,
    tiers: Annotated[
        str | None,
        typer.Option(
            "--tiers",
            metavar="URL",
            show_default=False,
            help="Of a bucket: below which URL tiers would be. Nothing is written there.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", metavar="URL", show_default=False, help="Of a bucket: its server, if not AWS."),
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", metavar="NAME", show_default=False, help="Of a bucket: its region.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", show_default=False, help="Write the advice as a page, too.")
    ] = None,
    _json: JsonOption = False,
) -> None:
    """From nothing to advice: write storaged.yaml, make a catalog, scan, and say what would save how much.

    Nothing is moved, and nothing is written below PATH. Where there is a storaged.yaml with this place it goes on.

    Example: storagectl quickstart /srv/data
    """
    from storaged.cli.context import load
    from storaged.config.quick import Quick
    from storaged.stores.access import Access

    options = of(ctx)
    out = Output(options)
    file = Path(os.path.abspath(options.config or "storaged.yaml"))
    root = _url(place)
    if html is not None:
        _outside(root, Path(os.path.abspath(html)))
    assumed: list[str] = []
    fresh = not file.exists()
    if fresh:
        own = Path(os.path.abspath(state or file.parent / _STATE))
        _outside(root, file, own)
        in_bucket = not root.startswith("file:")
        usual = _BUCKET_PRICES if in_bucket else _DIRECTORY_PRICES
        if in_bucket and endpoint is not None:
            usual = _NONE
        cost = _asked(options, "prices (an id of a price book, or none)", prices, usual, "--prices", assumed)
        who = _asked(options, "who reads it (raw or storaged)", readers, "raw", "--readers", assumed)
        if in_bucket and tiers is None:
            assumed.append(f"tiers below {_beside(root)} (--tiers)")
        quick = Quick(
            root,
            name or _name(root),
            who,
            own,
            "" if cost == _NONE else cost,
            (tiers or _beside(root)).rstrip("/") if in_bucket else "",
            Access(endpoint, region, None, endpoint is not None),
        )
        _write(file, quick)
        out.note(f"wrote {printable(str(file))}")
        for words in assumed:
            out.note(f"assumed: {printable(words)}")
    elif passed := [
        option
        for option in ("--name", "--prices", "--readers", "--state", "--tiers", "--endpoint", "--region")
        if ctx.params[option.removeprefix("--")] is not None
    ]:
        out.note(
            f"{printable(str(file))} is there already, and {', '.join(passed)} not looked at: edit the file instead"
        )
    options.config = file
    settings = load(options)
    names = [n for n, dataset in settings.datasets.items() if dataset.root == root]
    if not names:
        raise UsageError(
            f"{file} is there and has no dataset at {root}",
            hint="add it there and run `storagectl scan` and `storagectl advise`, or name another file with --config",
        )
    with _catalog(settings, options) as catalog:
        context = _reading(settings, catalog)
        context.register()
        done, failed = scan_all(context, options, names)
        end_with(out, failed)
        facts = {"file": str(file), "wrote": fresh, "assumed": assumed, "scans": [scan_facts(s) for s in done]}
        if not any(one.seen for one in done):
            out.show(facts, scan_table(done), "", *_empty(root, file))
            return
        advice = found(context, options, names)
    after = _then(settings, names, proposed=bool(advice.proposals))
    tell(options, advice, write=None, html=html, more=facts, before=(scan_table(done), ""), after=after)


def _url(place: str) -> str:
    """The URL of a place as people write it. Raises UsageError."""
    from storaged.config.quantities import BadValueError
    from storaged.config.urls import check_store_url

    if "://" not in place:
        path = os.path.realpath(place)
        if not os.path.isdir(path):
            raise UsageError(f"{place} is no directory", hint="name one, or a bucket such as s3://bucket/prefix")
        place = f"file://{path}"
    try:
        return check_store_url(place)
    except BadValueError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _outside(root: str, *written: Path) -> None:
    """Raises UsageError where what is written would lie below the root."""
    from storaged.work.context import local_path

    path = local_path(root)
    for own in written if path is not None else ():
        real = Path(os.path.realpath(own))
        if path in (real, *real.parents):
            raise UsageError(
                f"{own} lies below {path}, where nothing is written",
                hint="run it in another directory, or name --config, --state and --html elsewhere",
            )


def _asked(options: Options, question: str, given: str | None, usual: str, option: str, assumed: list[str]) -> str:
    """What was given, else what a person says, else what is usual, which is noted."""
    if given is not None:
        return given
    if sys.stdin.isatty() and not options.json and not options.quiet:
        return str(typer.prompt(question, default=usual, err=True))
    assumed.append(f"{option.removeprefix('--')} {usual} ({option})")
    return usual


def _name(root: str) -> str:
    """The last part of a place as the name of a dataset."""
    last = root.rstrip("/").rpartition("/")[2]
    return re.sub("[^A-Za-z0-9._-]+", "-", last).strip(".-") or "data"


def _beside(root: str) -> str:
    """Where tiers would be: beside a folder in its bucket, or in a bucket beside one that is all of it."""
    scheme, _, rest = root.partition("://")
    bucket, slash, _ = rest.partition("/")
    return f"{scheme}://{bucket}/storaged-tiers" if slash else f"{scheme}://{bucket}-storaged"


def _write(file: Path, quick: Quick) -> None:
    """Write storaged.yaml and make its directories; what does not hold together is not left behind."""
    from storaged.config.quick import quick_text
    from storaged.config.settings import load_settings
    from storaged.prices.load import load_prices
    from storaged.prices.tiers import tier_prices
    from storaged.private import make_directory
    from storaged.work.context import local_path

    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(quick_text(quick))
        try:
            settings = load_settings(file)
            tier_prices(settings, load_prices(settings.price_books))
            settings.policies.mkdir(exist_ok=True)
            make_directory(settings.state_dir)
            for tier in settings.tiers.values():
                if (path := local_path(tier.url)) is not None:
                    make_directory(path)
        except BaseException:
            file.unlink()
            raise
    except OSError as error:
        raise StoragedError(f"{error.filename or file} cannot be written: {error.strerror}") from error


def _catalog(settings: Settings, options: Options) -> Catalog:
    """The catalog, made if there is none."""
    from storaged.catalog.engine import create_catalog, open_catalog
    from storaged.cli.context import make_state_dir, place

    make_state_dir(settings)
    try:
        return open_catalog(place(settings), wait_s=options.lock_wait_s)
    except CatalogMissing:
        return create_catalog(place(settings))


def _reading(settings: Settings, catalog: Catalog) -> Context:
    """A context in which nothing can be written but to the tier that holds the journal."""
    from storaged.cli.context import context_of
    from storaged.stores.base import Store
    from storaged.stores.read_only import Untried

    ours = settings.tiers[settings.hottest].url

    def only_read(store: Store) -> Store:
        return store if store.url == ours else Untried(store)

    return context_of(settings, catalog, tolerant=True, wrap=only_read)


def _empty(root: str, file: Path) -> tuple[str, str]:
    """What a person may do next where there is nothing."""
    return (
        f"{root} is empty: there is nothing to advise on",
        f"once files are there, run the same again; is it the wrong place, remove {printable(str(file))} first",
    )


def _then(settings: Settings, names: list[str], *, proposed: bool) -> list[str]:
    """What a person may do next. `proposed`: there are policies that pay."""
    from storaged.model import Readers

    roots = " and ".join(settings.datasets[name].root for name in names)
    lines = [f"nothing was moved, and nothing was written at {roots}"]
    if not proposed:
        return lines
    lines.append(
        "`storagectl advise --write policies` puts these policies there as dry runs; `storagectl plan` lists all"
    )
    if any(settings.datasets[name].readers is Readers.RAW for name in names):
        lines.append(
            "before any of it can be done, storaged.yaml must say `readers: storaged`: nobody opens paths any more"
        )
    return [*lines, "and `storagectl catalog claim` marks root and tiers as this catalog's"]
