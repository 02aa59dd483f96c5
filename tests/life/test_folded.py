"""What is folded comes back as it was, as often as it is asked for."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.placements import paged
from storaged.catalog.queue import ItemOutcome
from storaged.model import CodecSpec, Fidelity, ItemState
from storaged.work.rewrite import folded

_SIZES = st.integers(0, 2**62)
_OUTCOMES = st.builds(
    ItemOutcome,
    object_id=st.integers(1, 2**62),
    name=st.text(),
    state=st.sampled_from(ItemState),
    note=st.text(),
    again=st.booleans(),
    before_bytes=_SIZES,
    after_bytes=_SIZES,
    not_before_us=st.none() | _SIZES,
    error=st.text(),
    codec=st.text(),
    instead=st.none() | st.builds(CodecSpec, st.text(), st.none() | st.integers(1, 19), st.sampled_from(Fidelity)),
)


@given(st.lists(_OUTCOMES, max_size=9))
def test_outcomes_come_back_in_their_order(values: list[ItemOutcome]) -> None:
    """Those of full pages and those of the last one; also in another process."""
    kept = folded.outcomes()
    before, folded.PAGE = folded.PAGE, 4
    try:
        kept.extend(values)
    finally:
        folded.PAGE = before
    assert list(kept) == list(kept) == list(pickle.loads(pickle.dumps(kept))) == values  # noqa: S301 (our own bytes)
    assert len(kept) == len(values)


@given(st.lists(st.integers()), st.integers(1, 5))
def test_pages_are_full_but_the_last(values: list[int], size: int) -> None:
    pages = list(paged(values, size))
    assert [one for page in pages for one in page] == values
    assert all(len(page) == size for page in pages[:-1])
    assert all(pages)
