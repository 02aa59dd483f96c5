"""Lines of the journal."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.entries import Lines, line_of, placement, told
from storaged.model import Placement, Raw, RawState, Replica, ReplicaState

_SIZES = st.integers(0, 2**62)
_REPLICAS = st.builds(
    Replica,
    blob=st.sampled_from(["b1", 'b"2']),
    offset=_SIZES,
    length=_SIZES,
    generation=st.integers(1, 9),
    state=st.sampled_from(ReplicaState),
    until_us=st.none() | _SIZES,
    edition=st.sampled_from(["", "b1"]),
)
_PLACEMENTS = st.builds(
    Placement,
    dataset=st.text(),
    name=st.text(),
    generation=st.integers(1, 9),
    size=_SIZES,
    mtime_us=_SIZES,
    created_us=_SIZES,
    raw=st.builds(Raw, state=st.sampled_from(RawState), identity=st.text(), size=_SIZES),
    replicas=st.lists(_REPLICAS, max_size=2).map(tuple),
    metadata=st.dictionaries(st.text(), st.text(), max_size=2),
)


@given(st.lists(st.tuples(st.text(), st.sampled_from(["swap", "undo"]), _PLACEMENTS), max_size=3), st.text())
def test_a_line_of_many_is_what_it_would_be_alone(changes: list[tuple[str, str, Placement]], reason: str) -> None:
    """Whatever of it was made text of before; and the placement in it comes back."""
    blobs: dict[str, Any] = {number: {"id": number, "key": f"k {number}", "size": 1} for number in ("b1", 'b"2')}
    lines = Lines("2026-11-29T00:00:00Z", 7, {"reason": reason}, blobs)
    for number, kind, p in changes:
        entry = {"id": number, "kind": kind, "at": "2026-11-29T00:00:00Z", "at_us": 7, "why": {"reason": reason}}
        entry |= {"placement": told(p), "blobs": [blobs[r.blob] for r in p.replicas]}
        assert lines.line(number, kind, p) == line_of(entry)
        assert placement(told(p)) == p
