"""Commands that change objects without moving bytes share how they show what they did or would do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from storaged.cli.render import Output, count
from storaged.cli.running import SHOWN, told_once
from storaged.cli.table import Table
from storaged.errors import JobsFailed, RefusedByGuard

if TYPE_CHECKING:
    from storaged.catalog.placements import Seen
    from storaged.work.context import Context
    from storaged.work.rewrite.pointers import Changed


def pages_of(context: Context, targets: Iterable[str]) -> Iterator[list[Seen]]:
    """The objects that these targets name, in pages. Raises UsageError for one that names none."""
    from storaged.work.targets import pages

    for target in targets:
        yield from pages(context, target)


def show_changed(out: Output, changed: Changed, verb: str, *, dry_run: bool = False) -> None:
    """Show what was done and what was not. Raises RefusedByGuard if nothing was, JobsFailed if not everything was."""
    facts = {
        "dry_run": dry_run,
        "done": changed.done,
        "refused": [{"object": name, "reason": why} for name, why in changed.refused],
        **({"whole": changed.whole} if changed.whole else {}),
        **({"jobs": changed.jobs, "prices": changed.prices} if changed.jobs else {}),
    }
    words = f"{'would be ' if dry_run else ''}{verb}: {count(len(changed.done), 'object')}"
    blocks: list[str | Table] = [words, *changed.whole]
    if changed.done and dry_run:
        blocks.append(Table(("object",), [(name,) for name in changed.done[:SHOWN]]))
        if len(changed.done) > SHOWN:
            blocks.append(f"and {len(changed.done) - SHOWN:,} more: --json lists them")
    if changed.jobs:
        blocks.append(
            f"{count(len(changed.jobs), 'job')} queued for storage classes; `storagectl work` runs what waits"
        )
        blocks += [f"billed for {count(number, 'object')}: {price}" for price, number in changed.prices.items()]
    refused = told_once(changed.refused)
    if refused:
        blocks.append(Table(("left as it is", "why"), refused[:SHOWN], paths=frozenset({"left as it is"}), prose="why"))
    if len(refused) > SHOWN:
        blocks.append(f"and {len(refused) - SHOWN:,} more: --json lists them")
    out.show(facts, *blocks)
    if dry_run or not changed.refused:
        return
    if not changed.done:
        raise RefusedByGuard(f"nothing was {verb}: {changed.refused[0][1]}")
    raise JobsFailed(
        f"{count(len(changed.refused), 'object')} of {len(changed.refused) + len(changed.done)} left as before"
    )
