"""catalog: made, upgraded, looked at, claimed; brought up to its journal, or built anew from it."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import JsonOption, Options, YesOption, confirm, of
from storaged.cli.progress import progress
from storaged.cli.render import Output, count, pairs, printable
from storaged.errors import CatalogError, CatalogMissing, ForeignClaim, JournalHole, StoragedError, UsageError

if TYPE_CHECKING:
    from storaged.config.settings import Settings
    from storaged.work.claims import Place
    from storaged.work.context import Context
    from storaged.work.recover.rebuild import Reconciled


def create(
    ctx: typer.Context,
    make: Annotated[bool, typer.Option("--make", help="Make the directories of tiers that are not there.")] = False,
    _json: JsonOption = False,
) -> None:
    """Make an empty catalog, and claim the places of tiers and datasets for it.

    Example: storagectl catalog create --make
    """
    from storaged.catalog.engine import create_catalog
    from storaged.cli.context import context_of, load, make_state_dir, place

    settings = load(of(ctx))
    _absent(settings)
    made = _make_tiers(settings) if make else []
    _unclaimed(settings)
    make_state_dir(settings)
    with create_catalog(place(settings)) as catalog:
        context = context_of(settings, catalog)
        context.register()
        facts = {"catalog": catalog.url, "id": context.identity.catalog, "note": catalog.journal_note, "made": made}
    words = [f"made the directory {printable(path)}" for path in made]
    Output(of(ctx)).show(facts, *words, f"made the catalog {facts['catalog']}", "now run `storagectl scan`")


def _make_tiers(settings: Settings) -> list[str]:
    """Make the directories of tiers, for nobody but us. Roots are their users'. Raises UsageError."""
    from storaged.work.context import local_path

    made = []
    for name, tier in settings.tiers.items():
        path = local_path(tier.url)
        if path is None or path.is_dir():
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(0o700)
        except OSError as error:
            raise UsageError(f"the directory of tier {name!r} cannot be made: {path}: {error.strerror}") from error
        made.append(str(path))
    return made


def _absent(settings: Settings) -> None:
    """Raises CatalogError where there is a catalog already."""
    from storaged.catalog.engine import open_catalog
    from storaged.cli.context import place

    with contextlib.suppress(CatalogMissing), open_catalog(place(settings)) as found:
        raise CatalogError(
            f"there is a catalog at {found.url} already",
            hint="`storagectl catalog reconcile` brings it up to its journal; to build it anew, move it away first",
        )


def _unclaimed(settings: Settings) -> None:
    """Another catalog's places are refused before anything is made. Raises ForeignClaim."""
    from storaged.stores.registry import open_store
    from storaged.work.claims import holder

    for url in (*(t.url for t in settings.tiers.values()), *(d.root for d in settings.datasets.values())):
        found = holder(open_store(url, settings.opening(url)))
        if found is not None:
            raise ForeignClaim(
                f"{url} belongs to catalog {found.catalog}",
                hint="use that catalog; if it is lost, run `storagectl catalog rebuild`",
            )


def upgrade(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Bring the catalog to the schema of this program. Stop the daemon and back the catalog up first.

    Example: storagectl catalog upgrade
    """
    from storaged.catalog.engine import upgrade_catalog
    from storaged.cli.context import load, place

    before, after = upgrade_catalog(place(load(of(ctx))))
    words = f"schema {after} already: nothing to do" if before == after else f"schema {before} became {after}"
    Output(of(ctx)).show({"before": before, "after": after}, words)


def info(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Show which catalog this is and how far it is in its journal.

    Example: storagectl catalog info
    """
    from storaged.cli.context import opened

    with opened(of(ctx)) as context:
        facts = describe(context)
    Output(of(ctx)).show(facts, pairs((name.replace("_", " "), value) for name, value in facts.items()))


def describe(context: Context) -> dict[str, Any]:
    """Identity, schema and journal of the catalog."""
    from storaged.catalog import facts
    from storaged.catalog.migrate import HEAD

    with context.catalog.read() as conn:
        number = facts.journal_number(conn)
        waiting = facts.journal_waiting(conn)
    unseen = None
    with contextlib.suppress(StoragedError):  # what is wrong with the journal's tier or a note of it, doctor tells
        unseen = context.journal.unseen()
    return {
        "catalog": context.catalog.url,
        "id": context.identity.catalog,
        "epoch": context.identity.epoch,
        "schema": HEAD,
        "durability": context.catalog.journal_note,
        "journal_number": number,
        "journal_waiting": waiting,
        "old_copy": unseen is not None,
    }


def claim(
    ctx: typer.Context,
    places: Annotated[
        list[str] | None,
        typer.Argument(metavar="PLACE", help="tier:NAME or dataset:NAME. Left out: all.", show_default=False),
    ] = None,
    yes: YesOption = False,
    _json: JsonOption = False,
) -> None:
    """Mark places of tiers and datasets as this catalog's again, where a marker was lost or names another place.

    Nothing else writes a marker where one was: whatever is mounted there now counts as the tier or root from then on.

    Example: storagectl catalog claim tier:cold
    """
    from storaged.cli.context import opened
    from storaged.errors import StoreError

    with opened(of(ctx)) as context:
        wanted = _places(context, places)
        confirm(f"are these mounted, and the right ones: {', '.join(map(str, wanted))}?", yes=yes)
        facts: dict[str, list[str]] = {"tiers": [], "datasets": []}
        for place in wanted:
            try:
                context.claim(place)
            except StoreError:
                if places or place.kind == "tier":
                    raise
                continue
            facts[f"{place.kind}s"].append(place.name)
    words = f"claimed {count(len(facts['tiers']), 'tier')} and {count(len(facts['datasets']), 'root')}"
    Output(of(ctx)).show(facts, words)


def _places(context: Context, words: list[str] | None) -> list[Place]:
    """The places that these words name. Raises UsageError."""
    from storaged.work.claims import Place

    every = [*(Place("tier", name) for name in context.tiers), *(Place("dataset", name) for name in context.datasets)]
    known = {str(place): place for place in every}
    if unknown := [word for word in words or () if word not in known]:
        raise UsageError(f"{unknown[0]!r} is no place of the configuration", hint=f"places are: {', '.join(known)}")
    return [known[word] for word in words] if words else every


ClaimOption = Annotated[
    list[str] | None,
    typer.Option("--claim", metavar="TIER", help="This tier is new or was emptied on purpose; may be repeated."),
]


def reconcile(ctx: typer.Context, claim: ClaimOption = None, yes: YesOption = False, _json: JsonOption = False) -> None:
    """Bring an old copy of the catalog up to its journal, and scan. From then on no other copy may act.

    Where entries of the journal are missing, what this catalog knows is told anew behind them.

    Example: storagectl catalog reconcile
    """
    from storaged.cli.context import opened

    options = of(ctx)
    with opened(options) as context:
        confirm(f"make {context.catalog.url} the one that acts, ending its unfinished jobs?", yes=yes)
        _replay_and_scan(context, options, _known(context.settings, claim))


def _known(settings: Settings, tiers: list[str] | None) -> list[str]:
    """The tiers that are named. Raises UsageError for a name that the configuration lacks."""
    for name in tiers or ():
        if name not in settings.tiers:
            raise UsageError(f"there is no tier {name!r}", hint=f"tiers are: {', '.join(sorted(settings.tiers))}")
    return tiers or []


def rebuild(ctx: typer.Context, claim: ClaimOption = None, yes: YesOption = False, _json: JsonOption = False) -> None:
    """Build a lost catalog anew from its journal and tiers, and scan. The catalog of storaged.yaml must not exist yet.

    If it is interrupted, `storagectl catalog reconcile` finishes it. Exits with 14 where it may lack something: entries
    are missing in the journal, or tiers hold blobs of ours that nothing tells of.

    Example: storagectl catalog rebuild
    """
    from storaged.catalog import facts
    from storaged.catalog.engine import create_catalog
    from storaged.cli.context import context_of, load, make_state_dir, place
    from storaged.stores.registry import open_store
    from storaged.work.claims import Place, keeps_journal, require
    from storaged.work.recover.rebuild import ANY_EPOCH, lost_catalog

    options = of(ctx)
    settings = load(options)
    _absent(settings)
    emptied = _known(settings, claim)
    stores = {name: open_store(t.url, settings.opening(t.url)) for name, t in settings.tiers.items()}
    lost = lost_catalog(next((s for s in stores.values() if keeps_journal(s)), next(iter(stores.values()))))
    for name, store in stores.items():
        if name not in emptied:
            require(store, dataclasses.replace(lost, epoch=ANY_EPOCH), Place("tier", name))
    confirm(f"take over from the lost catalog {lost.catalog}, as its epoch {lost.epoch}?", yes=yes)
    make_state_dir(settings)
    with create_catalog(place(settings), catalog_id=lost.catalog) as catalog:
        with catalog.begin() as conn:
            facts.put(conn, "epoch", str(lost.epoch))
            facts.put(conn, "reconciling", "1")
        _replay_and_scan(context_of(settings, catalog), options, emptied)


def _replay_and_scan(context: Context, options: Options, emptied: list[str]) -> None:
    from storaged.cli import scan
    from storaged.work.journal import told_holes
    from storaged.work.recover.rebuild import reconcile as run_reconcile

    out = Output(options)
    with progress(options, "replay the journal", unit="entries") as bar:
        result: Reconciled = run_reconcile(context, claim=emptied, progress=bar)
    done, failed = scan.scan_all(context, options, list(context.datasets))
    left = [
        f"{words}: {', '.join(found)}"
        for words, found in (
            ("left alone, as they may hold the only copy of something", result.kept),
            ("left alone, as they cannot be read", result.unreadable),
        )
        if found
    ]
    if result.holes:
        left.append(f"missing in the journal: {told_holes(result.holes)}; {count(result.retold, 'object')} told anew")
    out.show(
        {**dataclasses.asdict(result), "scans": [scan.facts(s) for s in done]},
        f"replayed {count(result.entries, 'journal entry', 'journal entries')}, "
        f"found {count(result.strays, 'stray blob')}",
        scan.table(done),
        *left,
        *([f"{count(result.taken_back, 'object')} taken back to what the journal says"] if result.taken_back else []),
        "`storagectl sweep` goes on with what was being released",
    )
    scan.end_with(out, failed)
    if result.unseen:
        raise JournalHole(
            f"the catalog may lack objects: {told_holes(result.unseen)} of the journal, missing on its tier, told of "
            "changes that nothing else tells of",
            hint="if a copy of the tier has them (.storaged/journal), put them back and rebuild the catalog again",
        )
    if result.kept:
        raise JournalHole(
            f"the catalog may lack objects: its tiers hold {count(len(result.kept), 'blob')} of which the journal does "
            "not tell",
            hint="is the journal whole? If a copy of its tier has more entries, put them back and rebuild again",
        )
