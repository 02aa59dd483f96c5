"""catalog backup, backups, restore, prune: copies of the catalog in a tier, and what of it is over."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import DryRunOption, JsonOption, YesOption, confirm, of
from storaged.cli.progress import progress
from storaged.cli.render import Output, at, count, size, when
from storaged.cli.table import Table
from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.config.settings import Settings
    from storaged.stores.base import Store
    from storaged.work.recover.backup import Backup

_Tier = Annotated[str | None, typer.Option("--tier", metavar="NAME", help="Only this tier.", show_default=False)]


def backup(
    ctx: typer.Context,
    tier: Annotated[
        str | None,
        typer.Option(
            "--tier", metavar="NAME", help="Where it goes. Left out: as `daemon.backup` says.", show_default=False
        ),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Copy the catalog into a tier, while others work. Where `daemon.backup` names that tier, all but its newest go.

    Example: storagectl catalog backup --tier cold
    """
    from storaged.cli.context import make_state_dir, opened
    from storaged.work.recover.backup import backup as run_backup

    options = of(ctx)
    out = Output(options)
    with opened(options) as context:
        wanted = context.settings.daemon.backup
        place = tier or (wanted.tier if wanted else None)
        if place is None:
            raise UsageError("no tier is named for backups", hint="give --tier, or set daemon.backup in storaged.yaml")
        make_state_dir(context.settings)
        keep = wanted.keep if wanted and wanted.tier == place else None
        with progress(options, "copy", unit="bytes") as bar:
            made = run_backup(context, place, keep, progress=bar)
    for problem in made.problems:
        out.warn(problem)
    facts = {**_facts(made.backup), "removed": made.removed, "problems": made.problems}
    removed = [f"removed {count(len(made.removed), 'older one')}: {', '.join(made.removed)}"] if made.removed else []
    stored = made.backup.stored_bytes
    out.show(facts, f"made backup {made.backup.name} in {place}, {size(stored)} of {size(made.backup.size)}", *removed)


def backups(ctx: typer.Context, tier: _Tier = None, _json: JsonOption = False) -> None:
    """List the backups of the catalog in the tiers of storaged.yaml. It takes no catalog.

    Example: storagectl catalog backups
    """
    from storaged.cli.context import load
    from storaged.work.recover.restore import find

    options = of(ctx)
    out = Output(options)
    found = find(_tiers(load(options), tier))
    for problem in found.problems:
        out.warn(problem)
    rows = [
        (b.name, b.tier, at(b.made_us), b.epoch, b.journal_number, size(b.stored_bytes), b.version)
        for b in found.backups
    ]
    columns = ("name", "tier", "made", "epoch", "journal", "size", "storaged")
    out.show(
        {"backups": [_facts(b) for b in found.backups], "problems": found.problems},
        Table(columns, rows, right=frozenset({"size"})) if rows else "there are none",
    )


def restore(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which backup. Left out: the newest.", show_default=False)
    ] = None,
    tier: _Tier = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Set the SQLite catalog that is there aside. Stop the daemon first.")
    ] = False,
    yes: YesOption = False,
    _json: JsonOption = False,
) -> None:
    """Make a backup the catalog. What happened since is in the journal: `storagectl catalog reconcile` comes next.

    Until then nothing can be done with it.

    Example: storagectl catalog restore
    """
    from storaged.cli.context import load, make_state_dir, place
    from storaged.clock import SystemClock
    from storaged.work.recover.restore import choose, find
    from storaged.work.recover.restore import restore as run_restore

    options = of(ctx)
    out = Output(options)
    settings = load(options)
    tiers = _tiers(settings, tier)
    found = find(tiers)
    for problem in found.problems:
        out.warn(problem)
    chosen = choose(found, name)
    made = f"{chosen.name} in {chosen.tier}, made {when(chosen.made_us)}"
    if replace:
        confirm(f"put backup {made}, in the place of the catalog that may be there?", yes=yes)
    make_state_dir(settings)
    with progress(options, "restore", unit="bytes") as bar:
        done = run_restore(settings, place(settings), chosen, tiers, SystemClock(), replace=replace, progress=bar)
    aside = [str(path) for path in done.aside]
    out.show(
        {**_facts(done.backup), "url": done.catalog, "aside": aside},
        f"{done.catalog} is backup {made}",
        *([f"set aside: {', '.join(aside)}"] if aside else []),
        *(["now run `storagectl catalog upgrade`: it has an older schema"] if done.outdated else []),
        f"{'then' if done.outdated else 'now'} run `storagectl catalog reconcile`",
    )


def prune(ctx: typer.Context, dry_run: DryRunOption = False, _json: JsonOption = False) -> None:
    """Forget what is over for longer than `daemon.retention` says: ended jobs, their plans, runs, scans, audit.

    The journal is never cut. The daemon does the same on its schedule.

    Example: storagectl catalog prune --dry-run
    """
    from storaged.cli.context import opened
    from storaged.work.release.retention import forget

    with opened(of(ctx)) as context:
        forgotten = forget(context, dry_run=dry_run)
    facts = {**dataclasses.asdict(forgotten), "dry_run": dry_run}
    Output(of(ctx)).show(facts, f"dry run, nothing is deleted; {forgotten}" if dry_run else str(forgotten))


def _tiers(settings: Settings, only: str | None) -> dict[str, Store]:
    from storaged.clock import SystemClock
    from storaged.work.recover.restore import tiers_of

    tiers = tiers_of(settings, SystemClock())
    if only is None:
        return tiers
    if only not in tiers:
        raise UsageError(f"there is no tier {only!r}", hint=f"tiers are: {', '.join(sorted(tiers))}")
    return {only: tiers[only]}


def _facts(which: Backup) -> dict[str, Any]:
    facts = dataclasses.asdict(which)
    del facts["parts"], facts["made_us"]
    return {**facts, "made": when(which.made_us), "stored_bytes": which.stored_bytes}
