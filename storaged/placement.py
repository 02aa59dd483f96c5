"""Every change a placement can take, as pure functions: (placement, facts) -> placement, or Stale with the reason.

These are the transitions of docs/design.md. Each states its guard; the catalog applies the result only to a row that
still has the version the guard was judged on, so a stale judgement never lands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from storaged.errors import CatalogError
from storaged.model import Placement, Raw, RawState, Replica, ReplicaState, Tier


class Stale(CatalogError):
    """The object is not (or no longer) in a state that allows this change."""


DOUBT: Final = "its release was taken back, and a delete of ours may still be under way"


def _supersede(replicas: tuple[Replica, ...], until_us: int) -> tuple[Replica, ...]:
    return tuple(
        replace(r, state=ReplicaState.SUPERSEDED, until_us=until_us) if r.state is ReplicaState.CURRENT else r
        for r in replicas
    )


def swap(p: Placement, new: Replica, *, digest: str, metadata: Mapping[str, str], until_us: int) -> Placement:
    """The pointer moves to `new`; what was current is superseded until `until_us`. Content digest and the original's
    metadata become known."""
    if not p.exists:
        raise Stale("the object was removed")
    if p.digest and p.digest != digest:
        raise Stale("the content digest is not the recorded one")
    if p.in_doubt:
        raise Stale(DOUBT)
    raw = p.raw.superseded(until_us) if p.raw.state is RawState.CURRENT else p.raw
    return p.at(raw, digest, (*_supersede(p.replicas, until_us), new), metadata)


def _reads(p: Placement, place: Raw | Replica) -> Placement:
    """The object's content is that of one of its places from here on. Those of the edition before state theirs."""
    if place.edition == p.edition:
        return p
    raw = p.raw
    if raw.state in _AT_ROOT and raw.edition == p.edition:
        raw = replace(raw, size=p.size, digest=p.digest)
    elif raw.edition == place.edition:
        raw = replace(raw, size=0, digest="")
    mine = (r.generation == p.generation for r in p.replicas)
    replicas = tuple(
        replace(r, digest=p.digest if r.edition == p.edition else "")
        if its and r.edition in (p.edition, place.edition)
        else r
        for r, its in zip(p.replicas, mine, strict=True)
    )
    size, digest = p.size_of(place), place.digest
    return replace(p, edition=place.edition, size=size, digest=digest, raw=raw, replicas=replicas)


_AT_ROOT: Final = (RawState.CURRENT, RawState.SUPERSEDED, RawState.RELEASING)


def derive(
    p: Placement, new: Replica, *, of: str, digest: str, metadata: Mapping[str, str], until_us: int
) -> Placement:
    """The pointer moves to another file of the same table: `new` names its edition. Places of the edition before are
    superseded with it, and the digest `of` their content becomes known; `digest` is the new content's."""
    if new.edition in {p.edition, p.raw.edition, *(r.edition for r in p.replicas)}:
        raise Stale("that edition was made before")
    moved = swap(p, replace(new, digest=digest), digest=of, metadata=metadata, until_us=until_us)
    return _reads(moved, moved.replicas[-1])


def undo(p: Placement, *, now_us: int, doubt_us: int) -> Placement:
    """The pointer moves back to what the last change superseded; the replica it made may be released at once. While a
    replica of the same edition is kept, that is it: what another one has was not what the last change superseded.

    A release that was begun and did not get through is taken back: since a delete may be under way still, that replica
    is kept for `doubt_us`, and the original key is in doubt meanwhile.
    """
    undone = _supersede(p.replicas, now_us)
    if p.raw.state is RawState.CURRENT:
        raise Stale("its content is at its original key; there is nothing to undo")
    kept = [
        r
        for r in p.replicas
        if r.state is ReplicaState.SUPERSEDED and r.generation == p.generation and (r.until_us or 0) > now_us
    ]
    same = [r for r in kept if r.edition == p.edition]
    to_root = p.raw.edition == p.edition or not same
    if p.raw.state is RawState.SUPERSEDED and to_root:
        back = replace(p, raw=replace(p.raw, state=RawState.CURRENT, until_us=None), replicas=undone)
        return _reads(back, back.raw)
    if p.raw.state is RawState.RELEASING and to_root:
        if p.current is None or p.current.generation != p.generation:
            raise Stale("no replica has its content: its source is all there is")
        doubt = now_us + doubt_us
        raw = replace(p.raw, state=RawState.CURRENT, until_us=doubt)
        back = replace(p, raw=raw, replicas=_supersede(p.replicas, doubt))
        return _reads(back, back.raw)
    if not kept:
        if not p.exists:
            raise Stale("it was removed and its grace is over: nothing of it is kept")
        if p.edition:
            raise Stale(
                "its grace is over: what its user wrote is gone; `storagectl restage --to-root` writes back what it is "
                "now, another file of the same table"
            )
        raise Stale("its grace is over and the source is released; `storagectl restage --to-root` writes it back")
    last = max(same or kept, key=lambda r: (r.until_us or 0, r.blob))
    replicas = tuple(
        replace(r, state=ReplicaState.CURRENT, until_us=None) if r.blob == last.blob else r for r in undone
    )
    return _reads(replace(p, replicas=replicas, removed_us=None), last)


def fallback(p: Placement) -> Replica | None:
    """The replica that counts where a delete of ours may yet take the content from its original key: one that has the
    same, else one of another edition."""
    kept = [r for r in p.replicas if r.state is ReplicaState.SUPERSEDED and r.generation == p.generation]
    last = max(kept, key=lambda r: (r.edition == p.edition, r.until_us or 0, r.blob), default=None)
    return last if p.in_doubt else None


def released_after_all(p: Placement) -> Placement:
    """A release that was taken back went through all the same: what was current then is current again, of whichever
    edition it is."""
    back = fallback(p)
    if back is None:
        raise Stale("no release of it was taken back")
    replicas = tuple(replace(r, state=ReplicaState.CURRENT, until_us=None) if r is back else r for r in p.replicas)
    return _reads(replace(p, raw=Raw(RawState.RELEASED), replicas=replicas), back)


def adopt(
    p: Placement,
    *,
    identity: str,
    attempt: str,
    storage_class: str,
    size: int,
    mtime_us: int,
    until_us: int,
    overwritten_until_us: int = 0,
) -> Placement:
    """The user wrote a new generation at the original key: it is current, our replicas of the old are superseded.

    Where the key was vacant, nothing of the old was at hand to whoever wrote (`>>` makes a new file there): it is kept
    until `overwritten_until_us`, if that is later, or somebody confirms.
    """
    vacant = p.current is not None and p.raw.state not in (RawState.CURRENT, RawState.SUPERSEDED)
    replicas = _supersede(p.replicas, until_us)
    if vacant:
        until_us = max(until_us, overwritten_until_us)
        replicas = tuple(
            replace(r, until_us=until_us, overwritten=True) if was.state is ReplicaState.CURRENT else r
            for was, r in zip(p.replicas, replicas, strict=True)
        )
    return replace(
        p,
        generation=p.generation + 1,
        size=size,
        mtime_us=mtime_us,
        created_us=mtime_us,
        digest="",
        edition="",
        metadata={},
        raw=Raw(RawState.CURRENT, identity, attempt, storage_class=storage_class),
        replicas=replicas,
        removed_us=None,
    )


def touched(
    p: Placement, *, identity: str, mtime_us: int, metadata: Mapping[str, str], digest: str, storage_class: str
) -> Placement:
    """The same content is at the original key with another identity: its metadata changed, or it was put there again.
    `digest` is empty where that is not proven by reading; only what is current may be taken over so."""
    if p.raw.state not in (RawState.CURRENT, RawState.SUPERSEDED):
        raise Stale("nothing of it is at its original key")
    if p.raw.state is RawState.SUPERSEDED and digest != p.digest_of(p.raw):
        raise Stale("it is not proven to be the same content")
    raw = replace(p.raw, identity=identity, storage_class=storage_class)
    known = digest if p.raw.edition == p.edition else p.digest
    return replace(p, raw=raw, mtime_us=mtime_us, metadata=metadata, digest=known)


def at_root(p: Placement) -> Placement:
    """As it was before anything of ours: at its original key, with what is kept there."""
    back = replace(p, raw=replace(p.raw, state=RawState.CURRENT, until_us=None), replicas=(), removed_us=None)
    return _reads(back, back.raw)


def keep_overwritten(p: Placement, *, until_us: int, generation: int | None = None) -> Placement:
    """Keep what was overwritten at a released key until then, from now on; of one generation only, or of all."""
    mine = [
        r
        for r in p.replicas
        if r.overwritten and r.state is ReplicaState.SUPERSEDED and generation in (None, r.generation)
    ]
    if not mine:
        which = "" if generation is None else f" of generation {generation}"
        raise Stale(f"nothing{which} that was overwritten is kept")
    return replace(p, replicas=tuple(replace(r, until_us=until_us) if r in mine else r for r in p.replicas))


def remove(p: Placement, *, now_us: int, until_us: int, doubtful_until_us: int = 0) -> Placement:
    """The user deleted the object: our replicas are kept until `until_us`; what was current until `doubtful_until_us`,
    if that is later, where it may have been a release that was lost with the catalog."""
    replicas = _supersede(p.replicas, until_us)
    if doubtful_until_us > until_us:
        replicas = tuple(
            replace(r, until_us=doubtful_until_us, overwritten=True) if was.state is ReplicaState.CURRENT else r
            for was, r in zip(p.replicas, replicas, strict=True)
        )
    return replace(p, raw=Raw(RawState.ABSENT), replicas=replicas, removed_us=now_us)


def drop(p: Placement, *, now_us: int, until_us: int) -> Placement:
    """A person asked storaged to delete the object. Only for what is no longer at its original key."""
    if p.current is None:
        raise Stale("it is at its original key: delete it there, the next scan records that")
    if p.raw.state in (RawState.SUPERSEDED, RawState.RELEASING):
        raise Stale("its original key is not released yet: delete it there, the next scan records that")
    return replace(p, replicas=_supersede(p.replicas, until_us), removed_us=now_us)


def release_source(p: Placement, *, now_us: int) -> Placement:
    """The intent to delete the superseded original key. From here on there is no undo."""
    if p.raw.state is not RawState.SUPERSEDED or (p.raw.until_us or 0) > now_us:
        raise Stale("the source is not due")
    if p.current is None:
        raise Stale("no replica is current")
    return replace(p, raw=replace(p.raw, state=RawState.RELEASING))


def source_released(p: Placement, *, identity: str) -> Placement:
    """The original key was seen without the source that was being released."""
    if p.raw.state is not RawState.RELEASING or p.raw.identity != identity:
        raise Stale("the source is not being released")
    return replace(p, raw=Raw(RawState.RELEASED))


def release_replica(p: Placement, blob: str, *, now_us: int) -> Placement:
    """The intent to delete a superseded replica."""
    mine = p.replica_in(blob)
    if mine is None or mine.state is not ReplicaState.SUPERSEDED or (mine.until_us or 0) > now_us:
        raise Stale("the replica is not due")
    replicas = tuple(replace(r, state=ReplicaState.RELEASING) if r is mine else r for r in p.replicas)
    kept = any(r.state is ReplicaState.SUPERSEDED and r.generation == p.generation for r in replicas)
    raw = p.raw if kept or not p.in_doubt else replace(p.raw, until_us=None)
    return replace(p, raw=raw, replicas=replicas)


def replica_released(p: Placement, blob: str) -> Placement:
    """The replica's blob is deleted: forget it."""
    mine = p.replica_in(blob)
    if mine is None or mine.state is not ReplicaState.RELEASING:
        raise Stale("the replica is not being released")
    return replace(p, replicas=tuple(r for r in p.replicas if r.blob != blob))


def returned(p: Placement, *, identity: str, attempt: str, storage_class: str, until_us: int) -> Placement:
    """The content is back at its original key, written there by `attempt`."""
    if p.raw.state not in (RawState.RELEASED, RawState.ABSENT) or p.current is None:
        raise Stale("its original key is not vacant by our doing")
    raw = Raw(RawState.CURRENT, identity, attempt, storage_class=storage_class, edition=p.edition)
    return replace(p, raw=raw, replicas=_supersede(p.replicas, until_us), removed_us=None)


def transition(p: Placement, *, was: str, identity: str, storage_class: str) -> Placement:
    """We changed the storage class of the original key in place: the same content under another identity."""
    if p.raw.state is not RawState.CURRENT:
        raise Stale("its content is not at its original key")
    if p.in_doubt:
        raise Stale(DOUBT)
    if p.raw.identity != was:
        raise Stale("it is not the object any more whose storage class was changed")
    return replace(p, raw=replace(p.raw, identity=identity, storage_class=storage_class))


def reclass(p: Placement, *, storage_class: str) -> Placement:
    """The store changed the storage class of what is at the original key, by its own rules, and nothing else."""
    return replace(p, raw=replace(p.raw, storage_class=storage_class))


def examined(p: Placement, blob: str | None, *, damaged: str) -> Placement:
    """Verify read a place (None: the original key) and found this wrong with it; empty: it read right."""
    if blob is None:
        if p.raw.state is not RawState.CURRENT:
            raise Stale("its content is not at its original key any more")
        return replace(p, raw=replace(p.raw, damaged=damaged))
    if p.replica_in(blob) is None:
        raise Stale("the replica is gone")
    return replace(p, replicas=tuple(replace(r, damaged=damaged) if r.blob == blob else r for r in p.replicas))


def raw_tier(storage_class: str, *, home: Tier, root: str, tiers: Iterable[Tier]) -> Tier:
    """The tier that an original key of this storage class counts as being in: the dataset's own if that has the class,
    else the hottest tier with the class on the same kind of store as the root, else the dataset's own all the same."""
    if home.storage_class == storage_class:
        return home
    kind = root.partition("://")[0]
    fit = (t for t in tiers if t.storage_class == storage_class and t.url.partition("://")[0] == kind)
    return min(fit, key=lambda tier: (tier.rank, tier.name), default=home)
