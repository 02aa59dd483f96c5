"""The storaged.yaml that `storagectl quickstart` writes: one dataset, tiers that nothing was put into, no policies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from storaged.stores.access import Access
from storaged.stores.schemes import terms_of

HOME: Final = "hot"  # the tier that a directory's dataset counts as
_JOURNAL: Final = "journal"  # the tier that holds it, where the dataset's tiers are in a bucket


@dataclass(frozen=True, slots=True)
class Quick:
    """What it is made from. `prices`: of a directory an id of a price book, of a bucket provider/region; empty: none.
    `tiers`: the URL below which tiers will be, of a bucket; of a directory they are in the state directory."""

    root: str
    name: str
    readers: str
    state: Path
    prices: str = ""
    tiers: str = ""
    access: Access = field(default_factory=Access)

    @property
    def classes(self) -> tuple[str, ...]:
        """The storage classes of its tiers; empty: it is in a directory."""
        ladder = terms_of(self.root).ladder
        return ladder if self.access.endpoint is None else ladder[:1]  # what other servers have nobody knows


def quick_text(quick: Quick) -> str:
    """The file as text."""
    return "\n".join(_lines(quick)) + "\n"


def _lines(q: Quick) -> Iterator[str]:
    state = str(q.state)
    yield "# Written by `storagectl quickstart`, which moved nothing. `storagectl init` writes one with more explained."
    yield "# `storagectl config check` reads this file and says everything that is wrong with it."
    yield f"catalog: {json.dumps(f'sqlite:///{state}/catalog.db')}"
    yield f"state_dir: {json.dumps(state)}"
    yield "policies: policies     # `storagectl advise --write policies` puts some there, as dry runs"
    yield ""
    yield "# Tiers are places of our own. Nothing was written to those in a bucket: before anything can be moved they"
    yield "# must be there, and `storagectl catalog claim` marks them."
    yield "tiers:"
    if not q.classes:
        yield f"  {HOME}: {_flow(rank='0', url=json.dumps(f'file://{state}/tiers/{HOME}'), prices=q.prices)}"
    else:
        yield f"  {_JOURNAL}: {_flow(rank='0', url=json.dumps(f'file://{state}/tiers/{_JOURNAL}'))}"
        for rank, storage_class in enumerate(q.classes, start=1):
            word = _word(storage_class)
            prices = f"{q.prices}/{word}" if q.prices else ""
            url = json.dumps(f"{q.tiers}/{word}")
            yield f"  {word}: {_flow(rank=str(rank), url=url, storage_class=storage_class, prices=prices)}"
    yield ""
    yield "datasets:"
    yield f"  {q.name}:"
    yield f"    root: {json.dumps(q.root)}"
    if q.classes:
        yield f"    tier: {_word(q.classes[0])}"
    yield "    # raw: programs open these files by their paths, so nothing leaves its place."
    yield "    # storaged: everybody reads through storaged, so that policies may move and compress them."
    yield f"    readers: {q.readers}"
    known = (("endpoint", q.access.endpoint), ("region", q.access.region))
    if any(value for _, value in known):
        yield ""
        yield "buckets:"
        more = {key: json.dumps(value) for key, value in known if value}
        if q.access.path_style:
            more["path_style"] = "true"
        for bucket in dict.fromkeys((_bucket(q.root), _bucket(q.tiers))):
            yield f"  {json.dumps(bucket)}: {_flow(**more)}"


def _flow(**keys: str) -> str:
    return f"{{{', '.join(f'{key}: {value}' for key, value in keys.items() if value)}}}"


def _word(storage_class: str) -> str:
    """A class as tiers and price books call it."""
    return storage_class.lower().replace("_", "-")


def _bucket(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]
