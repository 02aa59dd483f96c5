"""What an earlier try at a return has done already: its worker died before it was recorded."""

from __future__ import annotations

from dataclasses import replace

from storaged.catalog.items import codec_of
from storaged.catalog.placements import load
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.model import ItemState, RawState
from storaged.work.context import Context
from storaged.work.location import current
from storaged.work.rewrite.trouble import skipped
from storaged.work.scan.leftovers import tried_before
from storaged.work.scan.suspects import Scanned, Suspects


def not_yet_back(context: Context, claimed: ClaimedJob) -> tuple[ClaimedJob, list[ItemOutcome]]:
    """The job without the items that an earlier try put back before it died: that is recorded now. And without
    those that their users have deleted since: that counts, nothing is written again."""
    with context.catalog.read() as conn:
        tried = tried_before(conn, claimed)
    if not tried:
        return claimed, []
    Suspects(context, claimed.dataset, Scanned(claimed.dataset)).look_again(sorted(tried))
    with context.catalog.read() as conn:
        now = load(conn, tried)
    outcomes = []
    for item in claimed.items:
        it = now.get(item.seen.id)
        if it is None or it.version == item.seen.version:
            continue
        if it.placement.raw.state is RawState.CURRENT and it.placement.generation == item.seen.placement.generation:
            before, after = current(item.seen).bytes, it.placement.size
            found = codec_of(item.to).name
            outcomes.append(
                ItemOutcome(
                    it.id, it.placement.name, ItemState.DONE, before_bytes=before, after_bytes=after, codec=found
                )
            )
        else:
            outcomes.append(skipped(item, "its user changed or deleted what an earlier try had put back"))
    met = {o.object_id for o in outcomes}
    return replace(claimed, items=tuple(i for i in claimed.items if i.seen.id not in met)), outcomes
