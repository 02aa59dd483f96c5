"""The journal's tier is exchanged, forgotten or emptied: nothing that was moved may be taken for rubbish."""

from __future__ import annotations

import shutil

import pytest

from storaged.config.settings import load_settings
from storaged.errors import CatalogBehind, ForeignClaim, UsageError
from storaged.work.claims import Place
from storaged.work.recover.rebuild import lost_catalog, reconcile
from storaged.work.scan.run import scan
from tests.life.stage import NAME, OLD, Stage


def _with_a_hotter_tier(lake: Stage) -> None:
    config = lake.place / "storaged.yaml"
    text = config.read_text()
    for rank in (2, 1, 0):
        text = text.replace(f"rank: {rank}", f"rank: {rank + 1}")
    (lake.place / "nvme").mkdir()
    config.write_text(text.replace("tiers:\n", f'tiers:\n  nvme: {{rank: 0, url: "file://{lake.place}/nvme"}}\n'))
    lake.settings = load_settings(config)
    lake.context = lake.new_context()


def test_a_new_hottest_tier_leaves_the_journal_where_it_is(lake: Stage) -> None:
    lake.released()
    _with_a_hotter_tier(lake)
    assert lake.scan().vanished == 0
    lake.write("b.csv", OLD)
    lake.scan()
    lake.migrate("b.csv")
    with pytest.raises(UsageError, match="carries no journal"):
        lost_catalog(lake.context.tier("nvme"))
    lake.is_rebuilt()
    for _ in range(3):
        lake.days(8)
        lake.sweep()
    assert (lake.read(NAME), lake.read("b.csv")) == (OLD, OLD)


def test_a_journal_that_is_gone_stops_everything(lake: Stage) -> None:
    lake.released()
    shutil.rmtree(lake.place / "hot" / ".storaged")
    with pytest.raises(ForeignClaim, match="lost its marker"):
        lake.sweep()
    lake.context.claim(Place("tier", "hot"))
    with pytest.raises(CatalogBehind, match="is not on"):
        lake.sweep()
    assert lake.read(NAME) == OLD


def test_without_catalog_and_journal_no_blob_is_taken_for_rubbish(lake: Stage) -> None:
    lake.released()
    for note in (lake.place / "hot" / ".storaged" / "journal").rglob("*.jsonl"):
        note.unlink()
    lake.takes_over(lake.databases.heir(lost_catalog(lake.context.tier("hot"))))
    found = reconcile(lake.context)
    assert (found.entries, found.strays, len(found.kept)) == (0, 0, 1)
    scan(lake.context, "lake", confirm_empty=True)
    for _ in range(3):
        lake.days(8)
        lake.sweep()
    assert len(lake.stored("cold")) == 1
