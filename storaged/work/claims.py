"""One catalog per place: each tier and root carries a marker that says which catalog may act there, in which epoch, and
which tier or dataset it is.

Two disks that are mounted the wrong way round carry each other's names; a mount point without its disk carries nothing.
So the marker is looked at before every batch of effects (`confirm`), and only an explicit claim (`take`) writes one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from storaged.catalog.facts import Identity
from storaged.errors import (
    AlreadyExists,
    ForeignClaim,
    MarkerLost,
    NotANote,
    OtherPlace,
    PermissionDenied,
    StoreUnavailable,
)
from storaged.stores.notes import CLAIM, LARGEST_MARKER, Notes


@dataclass(frozen=True, slots=True)
class Place:
    """What a marker marks. As text: `tier:NAME` or `dataset:NAME`."""

    kind: Literal["tier", "dataset"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Marker:
    """What stands at a place. `place` None: written by a version that named none. `left`: where the tier went from
    here; nothing is done at this place any more."""

    owner: Identity
    journal: bool = False
    place: Place | None = None
    left: str = ""


def holder(store: Notes) -> Identity | None:
    """Whose place this is; None: nobody's. Raises ForeignClaim where the marker cannot be read as ours."""
    found = marker(store)
    return None if found is None else found.owner


def keeps_journal(store: Notes) -> bool:
    """Whether the marker says that the journal of its catalog is here."""
    found = marker(store)
    return found is not None and found.journal and not found.left


def marker(store: Notes) -> Marker | None:
    """What stands there, whoever wrote it. Raises as `holder` does."""
    with _is_a_file(store):
        return _parsed(store.url, store.read_note(CLAIM, limit=LARGEST_MARKER))


def confirm(store: Notes, who: Identity, place: Place) -> Marker | None:
    """Look at the marker of what is at the URL now, and make that the place that `store` works on. None: nobody claimed
    it. One of an older epoch, or of before markers had names, is brought up to date by `take`.

    Raises ForeignClaim if another catalog or a newer epoch holds it, OtherPlace if it is another tier or dataset of
    ours. Whoever needs the claim asks `require`.
    """

    def judge(found: Marker | None) -> None:
        if found is not None:
            _ours(store.url, found, who, place)

    return _look(store, judge)


def require(store: Notes, who: Identity, place: Place) -> Marker:
    """`confirm`, where the marker must be there: a place whose marker is gone is most likely not mounted.

    Raises MarkerLost, and as `confirm` does.
    """
    seen: list[Marker] = []

    def judge(found: Marker | None) -> None:
        if found is None:
            raise MarkerLost(
                f"{store.url} has lost its marker: is it mounted?",
                hint=f"if this is the right place and was emptied on purpose, run `storagectl catalog claim {place}`",
            )
        _ours(store.url, found, who, place)
        seen.append(found)

    _look(store, judge)
    return seen[-1]


def _look(store: Notes, judge: Callable[[Marker | None], None]) -> Marker | None:
    """Hand the marker of what is at the URL now to `judge`, which raises unless this is to be the store's place."""
    seen: list[Marker | None] = []

    def check(data: bytes | None) -> None:
        found = _parsed(store.url, data)
        judge(found)
        seen.append(found)

    with _is_a_file(store):
        store.confirm(CLAIM, check)
    return seen[-1]


@contextlib.contextmanager
def _is_a_file(store: Notes) -> Iterator[None]:
    """What stands in the marker's place and is none, as a pipe, a link or something huge, is not ours. Of a marker on
    this machine that cannot be read it is said whose it is."""
    try:
        yield
    except NotANote as error:
        raise _no_claim(store.url, f": {error.message}") from error
    except (PermissionDenied, StoreUnavailable) as error:
        if error.key != CLAIM:  # the path or the bucket is in it
            raise
        raise type(error)(f"the marker of {store.url}: {error.message}", key=CLAIM, hint=error.hint) from error


def check(store: Notes, who: Identity, place: Place) -> bool:
    """Whether we hold the claim, in our epoch; False: not yet, or not any more. Raises as `confirm` does."""
    found = confirm(store, who, place)
    return found is not None and found.owner.epoch == who.epoch


def take(store: Notes, who: Identity, place: Place, *, journal: bool = False) -> None:
    """Claim the place (`journal`: as the one where the journal is), or bring our own marker to our epoch and this name.

    Raises ForeignClaim if it is not ours to take, OtherPlace if its marker names another place of ours.
    """
    found = confirm(store, who, place)
    wanted = Marker(who, journal or bool(found and found.journal), place)
    if found == wanted:
        return
    _write(store, wanted, create_only=found is None)
    if not check(store, who, place):  # written meanwhile by an older epoch, or away before it was looked at
        raise MarkerLost(f"{store.url} does not show the marker that was just written there: is it mounted?")


def rename(store: Notes, who: Identity, place: Place, *, journal: bool) -> None:
    """Claim a place of ours under another name than its marker has: a person says that it is the right one.

    Raises ForeignClaim if it is another catalog's or a newer epoch's.
    """

    def judge(found: Marker | None) -> None:
        if found is not None:
            _of_us(store.url, found.owner, who)

    found = _look(store, judge)  # whatever was confirmed before: from here on it is this place
    if found is not None:  # even as it is: its place may be another one now, see DatasetSettings.claim
        _write(store, Marker(who, journal, place), create_only=False)
    take(store, who, place, journal=journal)


def leave(store: Notes, who: Identity, place: Place, url: str) -> None:
    """Note at a place of ours that the tier went to `url`: nobody works here any more."""
    found = require(store, who, place)
    _write(store, Marker(who, found.journal, place, url), create_only=False)


def _write(store: Notes, wanted: Marker, *, create_only: bool) -> None:
    told: dict[str, Any] = {
        "catalog": wanted.owner.catalog,
        "epoch": wanted.owner.epoch,
        "journal": wanted.journal,
    }
    if wanted.place:
        told[wanted.place.kind] = wanted.place.name
    if wanted.left:
        told["left"] = wanted.left
    with contextlib.suppress(AlreadyExists):  # another process was faster; it is ours or it is not
        store.write_note(CLAIM, json.dumps(told).encode() + b"\n", create_only=create_only)


def _parsed(url: str, data: bytes | None) -> Marker | None:
    if data is None:
        return None
    try:
        told = json.loads(data)
        owner = Identity(str(told["catalog"]), int(told["epoch"]))
        place = next((Place(kind, str(told[kind])) for kind in _KINDS if kind in told), None)
        return Marker(owner, bool(told.get("journal")), place, str(told.get("left", "")))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:  # others may have written it
        raise _no_claim(url) from error


def _no_claim(url: str, why: str = "") -> ForeignClaim:
    return ForeignClaim(
        f"{url} carries a marker that is no claim of storaged{why}",
        hint=f"look at .storaged/{CLAIM} there; remove it only if no other storaged works on this place",
    )


_KINDS: Final[tuple[Literal["tier", "dataset"], ...]] = ("tier", "dataset")


def _ours(url: str, found: Marker, who: Identity, place: Place) -> None:
    """Raises ForeignClaim, OtherPlace."""
    _of_us(url, found.owner, who)
    if found.place is not None and found.place != place:
        raise OtherPlace(
            f"{url} carries the marker of {found.place}, and storaged.yaml calls it {place}",
            hint="were two places exchanged? Mount each where it belongs; if the name was changed on purpose, "
            f"run `storagectl catalog claim {place}`",
        )
    if found.left:
        raise OtherPlace(
            f"{place} was moved from {url} to {found.left}",
            hint=f"write that url into storaged.yaml; to go back, run `storagectl tier move {place.name} {url}`",
        )


def _of_us(url: str, found: Identity, who: Identity) -> None:
    if found.catalog != who.catalog:
        raise ForeignClaim(
            f"{url} belongs to catalog {found.catalog}, this one is {who.catalog}",
            hint="use that catalog; if it is lost, run `storagectl catalog rebuild`",
        )
    if found.epoch > who.epoch:
        raise ForeignClaim(
            f"{url} is claimed by epoch {found.epoch} of this catalog, this copy is of epoch {who.epoch}",
            hint="this is an old copy of a rebuilt catalog: use the newer one, or run `storagectl catalog reconcile`",
        )
