"""All checks, in the order in which they are made, and every kind of finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from storaged.stores.read_only import ReadOnly
from storaged.work.context import Context
from storaged.work.doctor import catalog, datasets, heat, packs, places, remade, service, stored
from storaged.work.doctor.base import Check, Finding, FindingKind

CHECKS: Final[tuple[Check, ...]] = (
    places.whose,
    places.access,
    places.privacy,
    places.mounted,
    places.rooms,
    places.clocks,
    places.passing,
    catalog.journal,
    catalog.queue,
    catalog.drafts,
    catalog.stopped,
    stored.abandoned,
    stored.parts,
    stored.in_tiers,
    packs.sparse,
    remade.encoders,
    datasets.registered,
    datasets.roots,
    datasets.damaged,
    packs.damaged,
    datasets.stuck,
    datasets.overwritten,
    heat.logs,
    service.work,
    service.backups,
)
DEEP: Final[tuple[Check, ...]] = (catalog.entries,)  # that read much
TRIALS: Final[tuple[Check, ...]] = (places.trials,)  # that write, and take it back

_FAMILIES: Final = (places, catalog, stored, packs, remade, datasets, heat, service)
KINDS: Final[Mapping[str, FindingKind]] = MappingProxyType(
    {kind.check: kind for family in _FAMILIES for kind in family.KINDS}
)


def examine(context: Context, *, deep: bool = False) -> Iterator[Finding]:
    """Everything that is not as it should be. Nothing is written to any store: they are opened so that they refuse.

    `deep`: also read every entry of the journal, and try to write where storaged has to write. Raises CatalogError
    where the catalog itself does not answer.
    """
    onlooker = Context(
        context.settings, context.catalog, context.clock, actor=context.actor, wrap=lambda store: ReadOnly(store)
    )
    for check in (*CHECKS, *(DEEP if deep else ())):
        yield from check(onlooker)
    for trial in TRIALS if deep else ():
        yield from trial(context)
