"""One catalog per place: each tier and root carries a marker that says which catalog may act there, in which epoch."""

from __future__ import annotations

import json
from typing import Any, Final

from storaged.catalog.facts import Identity
from storaged.errors import AlreadyExists, ForeignClaim, MarkerLost
from storaged.stores.base import Store

CLAIM: Final = "claim.json"


def holder(store: Store) -> Identity | None:
    """Whose place this is; None: nobody's. Raises ForeignClaim where the marker cannot be read as ours."""
    told = _marker(store)
    return None if told is None else Identity(told["catalog"], told["epoch"])


def keeps_journal(store: Store) -> bool:
    """Whether the marker says that the journal of its catalog is here."""
    told = _marker(store)
    return told is not None and bool(told.get("journal"))


def _marker(store: Store) -> dict[str, Any] | None:
    data = store.read_note(CLAIM)
    if data is None:
        return None
    try:
        told = json.loads(data)
        return {**told, "catalog": str(told["catalog"]), "epoch": int(told["epoch"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ForeignClaim(
            f"{store.url} carries a marker that is no claim of storaged",
            hint=f"look at .storaged/{CLAIM} there; remove it only if no other storaged works on this place",
        ) from error


def check(store: Store, who: Identity) -> bool:
    """Whether we hold the claim; False: nobody does. Raises ForeignClaim if another catalog, or a newer epoch, does."""
    found = holder(store)
    if found is None:
        return False
    if found.catalog != who.catalog:
        raise ForeignClaim(
            f"{store.url} belongs to catalog {found.catalog}, this one is {who.catalog}",
            hint="use that catalog; if it is lost, run `storagectl catalog rebuild`",
        )
    if found.epoch > who.epoch:
        raise ForeignClaim(
            f"{store.url} is claimed by epoch {found.epoch} of this catalog, this copy is of epoch {who.epoch}",
            hint="this is an old copy of a rebuilt catalog: use the newer one, or run `storagectl catalog reconcile`",
        )
    return found.epoch == who.epoch


def take(store: Store, who: Identity, *, journal: bool = False) -> None:
    """Claim the place (`journal`: as the one where the journal is), or bring our own claim to our epoch.

    Raises ForeignClaim if it is not ours to take.
    """
    if check(store, who):
        return
    found = _marker(store)
    marker = {"catalog": who.catalog, "epoch": who.epoch, "journal": journal or bool(found and found.get("journal"))}
    try:
        store.write_note(CLAIM, json.dumps(marker).encode() + b"\n", create_only=found is None)
    except AlreadyExists:  # another process was faster; it is ours or it is not
        check(store, who)


def require(store: Store, who: Identity) -> None:
    """The claim must be there and ours: a place whose marker is gone is most likely not mounted.

    Raises MarkerLost, or ForeignClaim if another catalog or a newer epoch holds it.
    """
    if holder(store) is None:
        raise MarkerLost(
            f"{store.url} has lost its marker: is it mounted?",
            hint="if this is the right place and was emptied on purpose, run `storagectl catalog claim`",
        )
    take(store, who)
