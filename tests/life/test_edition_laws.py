"""Whatever happens to a placement, each place states the content that it has: beside a model that knows no more."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.entries import placement, told
from storaged.model import Placement, Raw, RawState, Replica, ReplicaState
from storaged.placement import (
    Stale,
    adopt,
    at_root,
    derive,
    drop,
    fallback,
    release_replica,
    release_source,
    released_after_all,
    remove,
    replica_released,
    returned,
    source_released,
    swap,
    touched,
    undo,
)
from tests.laws import tries

GRACES = (0, 5, 50)
Content = tuple[int, str]  # size, digest


@dataclass
class Life:
    """A placement, and what lies in each place that is there."""

    chance: random.Random
    p: Placement = field(default_factory=lambda: Placement("d", "a", 1, 100, 0, 0, Raw(RawState.CURRENT, "i0")))
    now: int = 0
    count: int = 0
    root: Content | None = (100, "c0")
    blobs: dict[str, Content] = field(default_factory=dict)

    def new(self) -> int:
        self.count += 1
        return self.count

    def content(self) -> Content | None:
        """What its name reads as."""
        if self.p.raw.state is RawState.CURRENT:
            return self.root
        return None if self.p.current is None else self.blobs[self.p.current.blob]

    def until(self) -> int:
        return self.now + self.chance.choice(GRACES)

    def moved(self) -> None:
        here = self.content()
        assert here is not None or not self.p.exists
        size, digest = here or (0, "")
        blob = f"b{self.new()}"
        made = Replica(blob, 0, size, self.p.generation, ReplicaState.CURRENT, edition=self.p.edition)
        self.p = swap(self.p, made, digest=digest, metadata={}, until_us=self.until())
        self.blobs[blob] = (size, digest)

    def derived(self) -> None:
        here = self.content()
        assert here is not None or not self.p.exists
        n = self.new()
        blob, made = f"b{n}", (100 - n % 90, f"c{n}")
        new = Replica(blob, 0, made[0], self.p.generation, ReplicaState.CURRENT, edition=blob)
        of = here[1] if here else ""
        self.p = derive(self.p, new, of=of, digest=made[1], metadata={}, until_us=self.until())
        self.blobs[blob] = made

    def undone(self) -> None:
        was = self.p
        self.p = undo(self.p, now_us=self.now, doubt_us=20)
        same = [r for r in was.replicas if r.edition == was.edition and r.generation == was.generation]
        kept = [r for r in same if r.state is ReplicaState.SUPERSEDED and (r.until_us or 0) > self.now]
        if kept and was.exists:
            assert self.p.edition == was.edition, "what the last change superseded is of the same edition"

    def source_deleted(self) -> None:
        taken = release_source(self.p, now_us=self.now)
        self.p = taken if self.chance.random() < 0.5 else source_released(taken, identity=taken.raw.identity)
        if self.p.raw.state is RawState.RELEASED:
            self.root = None

    def delete_went_through(self) -> None:
        if self.p.raw.state is RawState.RELEASING:
            self.p = source_released(self.p, identity=self.p.raw.identity)
            self.root = None

    def went_all_the_same(self) -> None:
        was, back = self.p, fallback(self.p)
        self.p = released_after_all(self.p)
        kept = [r for r in was.replicas if r.generation == was.generation and r.state is ReplicaState.SUPERSEDED]
        assert self.p.edition == was.edition or was.edition not in {r.edition for r in kept}
        assert self.p.current is not None
        assert back is not None
        assert self.p.current.blob == back.blob
        self.root = None

    def blob_deleted(self) -> None:
        for r in self.p.replicas:
            if r.state is not ReplicaState.CURRENT and (r.until_us or 0) <= self.now:
                self.p = replica_released(release_replica(self.p, r.blob, now_us=self.now), r.blob)
                del self.blobs[r.blob]
                return

    def written(self) -> None:
        n = self.new()
        size, how = 100 + n, {"identity": f"i{n}", "attempt": "", "storage_class": "STANDARD"}
        self.p = adopt(self.p, size=size, mtime_us=n, until_us=self.until(), **how)
        self.root = (size, f"c{n}")

    def back(self) -> None:
        here = self.content()
        how = {"identity": f"i{self.new()}", "attempt": "r", "storage_class": "STANDARD"}
        self.p = returned(self.p, until_us=self.until(), **how)
        self.root = here

    def removed(self) -> None:
        if self.p.exists:
            self.p = remove(self.p, now_us=self.now, until_us=self.until())
            self.root = None

    def dropped(self) -> None:
        self.p = drop(self.p, now_us=self.now, until_us=self.until())

    def metadata_changed(self) -> None:
        how = {"identity": f"i{self.new()}", "mtime_us": self.now, "metadata": {}, "storage_class": "STANDARD"}
        digest = self.root[1] if self.root and self.chance.random() < 0.7 else ""
        self.p = touched(self.p, digest=digest, **how)

    def taken_back(self) -> None:
        if self.p.raw.state in (RawState.CURRENT, RawState.SUPERSEDED):
            self.p = at_root(self.p)
            self.blobs = {}

    def later(self) -> None:
        self.now += self.chance.choice((1, 10, 60))

    def check(self) -> None:
        p = self.p
        here = self.content()
        assert (here is None) == (not p.exists)
        if here is not None:
            assert (p.size, p.digest or here[1]) == here, "the object is what its name reads as"
        places: list[tuple[Raw | Replica, Content]] = [
            (r, self.blobs[r.blob]) for r in p.replicas if r.generation == p.generation
        ]
        if self.root is not None and p.raw.state in (RawState.CURRENT, RawState.SUPERSEDED, RawState.RELEASING):
            places.append((p.raw, self.root))
        for place, has in places:
            assert (p.size_of(place), p.digest_of(place) or has[1]) == has, "each place states what it has"
        for one, has in places:
            for other, its in places:
                assert (one.edition == other.edition) == (has == its), "an edition is one content"
        assert placement(told(p)) == p


STEPS = (
    *("moved", "derived", "derived", "undone", "undone", "source_deleted", "delete_went_through", "went_all_the_same"),
    *("blob_deleted", "back", "back", "metadata_changed", "later", "moved", "derived", "undone", "source_deleted"),
    *("blob_deleted", "written", "back", "removed", "dropped", "metadata_changed", "taken_back", "later", "later"),
)


# MUST 8
@tries(100)
@given(st.integers(0, 2**64))
def test_each_place_states_its_own_content_whatever_happens(seed: int) -> None:
    life = Life(random.Random(seed))
    for _ in range(250):
        before, step = replace(life.p), life.chance.choice(STEPS)
        try:
            getattr(life, step)()
        except Stale:
            assert life.p == before
        life.check()
