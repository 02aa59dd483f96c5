"""catalog: made, upgraded, looked at, claimed; brought up to its journal, or built anew from it."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import typer

from storaged.cli.options import JsonOption, Options, YesOption, confirm, of
from storaged.cli.progress import progress
from storaged.cli.render import Output, count, pairs
from storaged.errors import CatalogError, CatalogMissing, ForeignClaim

if TYPE_CHECKING:
    from storaged.config.settings import Settings
    from storaged.work.context import Context
    from storaged.work.rebuild import Reconciled


def create(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Make an empty catalog, and claim the places of tiers and datasets for it.

    Example: storagectl catalog create
    """
    from storaged.catalog.engine import create_catalog
    from storaged.cli.context import context_of, load, make_state_dir, place

    settings = load(of(ctx))
    _absent(settings)
    _unclaimed(settings)
    make_state_dir(settings)
    with create_catalog(place(settings)) as catalog:
        context = context_of(settings, catalog)
        context.register()
        facts = {"catalog": catalog.url, "id": context.identity.catalog, "note": catalog.journal_note}
    Output(of(ctx)).show(facts, f"made the catalog {facts['catalog']}", "now run `storagectl scan`")


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
    from storaged.stores.access import Opening
    from storaged.stores.registry import open_store
    from storaged.work.claims import holder

    for url in (*(t.url for t in settings.tiers.values()), *(d.root for d in settings.datasets.values())):
        found = holder(open_store(url, Opening(access=settings.access(url))))
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
    return {
        "catalog": context.catalog.url,
        "id": context.identity.catalog,
        "epoch": context.identity.epoch,
        "schema": HEAD,
        "durability": context.catalog.journal_note,
        "journal_number": number,
        "journal_waiting": waiting,
    }


def claim(ctx: typer.Context, yes: YesOption = False, _json: JsonOption = False) -> None:
    """Mark the places of tiers and datasets as this catalog's again, where a marker was lost.

    Example: storagectl catalog claim
    """
    from storaged.cli.context import opened

    with opened(of(ctx)) as context:
        confirm("are all tiers mounted, and the right ones?", yes=yes)
        context.register(reclaim=True)
        facts = {"tiers": list(context.tiers), "datasets": [d for d in context.datasets if context.owns_root(d)]}
    words = f"claimed {count(len(facts['tiers']), 'tier')} and {count(len(facts['datasets']), 'root')}"
    Output(of(ctx)).show(facts, words)


def reconcile(ctx: typer.Context, yes: YesOption = False, _json: JsonOption = False) -> None:
    """Bring an old copy of the catalog up to its journal, and scan. From then on no other copy may act.

    Example: storagectl catalog reconcile
    """
    from storaged.cli.context import opened

    options = of(ctx)
    with opened(options) as context:
        confirm(f"make {context.catalog.url} the one that acts, ending its unfinished jobs?", yes=yes)
        _replay_and_scan(context, options)


def rebuild(ctx: typer.Context, yes: YesOption = False, _json: JsonOption = False) -> None:
    """Build a lost catalog anew from its journal and tiers, and scan. The catalog of storaged.yaml must not exist yet.

    If it is interrupted, `storagectl catalog reconcile` finishes it.

    Example: storagectl catalog rebuild
    """
    from storaged.catalog import facts
    from storaged.catalog.engine import create_catalog
    from storaged.cli.context import context_of, load, make_state_dir, place
    from storaged.stores.access import Opening
    from storaged.stores.registry import open_store
    from storaged.work.claims import keeps_journal
    from storaged.work.rebuild import lost_catalog

    options = of(ctx)
    settings = load(options)
    _absent(settings)
    stores = [open_store(t.url, Opening(access=settings.access(t.url))) for t in settings.tiers.values()]
    lost = lost_catalog(next((s for s in stores if keeps_journal(s)), stores[0]))
    confirm(f"take over from the lost catalog {lost.catalog}, as its epoch {lost.epoch}?", yes=yes)
    make_state_dir(settings)
    with create_catalog(place(settings), catalog_id=lost.catalog) as catalog:
        with catalog.begin() as conn:
            facts.put(conn, "epoch", str(lost.epoch))
        _replay_and_scan(context_of(settings, catalog), options)


def _replay_and_scan(context: Context, options: Options) -> None:
    from storaged.cli import scan
    from storaged.work.rebuild import reconcile as run_reconcile

    out = Output(options)
    with progress(options, "replay the journal", unit="entries") as bar:
        result: Reconciled = run_reconcile(context, progress=bar)
    done, failed = scan.scan_all(context, options, list(context.datasets))
    left = f"left alone, as they may hold the only copy of something: {', '.join(result.kept)}"
    out.show(
        {**dataclasses.asdict(result), "scans": [scan.facts(s) for s in done]},
        f"replayed {count(result.entries, 'journal entry', 'journal entries')}, "
        f"found {count(result.strays, 'stray blob')}",
        scan.table(done),
        *([f"{count(result.taken_back, 'object')} taken back to what the journal says"] if result.taken_back else []),
        *([left] if result.kept else []),
        "`storagectl sweep` goes on with what was being released",
    )
    scan.end_with(out, failed)
