"""Eject: every object of a dataset back under its original key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from storaged.catalog.placements import Seen
from storaged.model import Placement, RawState
from storaged.work.context import Context
from storaged.work.rewrite.enqueue import Enqueued
from storaged.work.rewrite.pointers import Changed, undo_objects
from storaged.work.rewrite.returns import to_root
from storaged.work.targets import pages


@dataclass(frozen=True, slots=True)
class Ejected:
    """What went back at once, since its original is kept still, and the jobs that write the rest back."""

    undone: Changed
    returns: Enqueued

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """What neither goes back nor is written back, and why."""
        return [*self.undone.refused, *self.returns.left_out]


def eject(context: Context, dataset: str, *, dry_run: bool = False) -> Ejected:
    """Undo what is in grace, and queue jobs for what was released. `dry_run`: tells what would be done and left out by
    what is there now, and changes nothing."""
    return Ejected(
        undo_objects(context, _those(context, dataset, _in_grace), apart=True, dry_run=dry_run),
        to_root(context, _those(context, dataset, _released), reason=f"{context.actor}: eject", dry_run=dry_run),
    )


def _in_grace(placement: Placement) -> bool:
    return placement.raw.state in (RawState.SUPERSEDED, RawState.RELEASING)


def _released(placement: Placement) -> bool:
    return placement.current is not None and not _in_grace(placement)


def _those(context: Context, dataset: str, wanted: Callable[[Placement], bool]) -> Iterator[list[Seen]]:
    for page in pages(context, dataset):
        yield [seen for seen in page if wanted(seen.placement)]
