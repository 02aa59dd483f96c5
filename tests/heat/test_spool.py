"""What is read through storaged is spooled, counted once, and then gone."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from storaged.clock import DAY, SECOND
from storaged.model import AccessEvent
from storaged.work.ingest import LogSource, ingest
from storaged.work.ingest import reads as spool_module
from storaged.work.ingest.reads import Spool, ingest_spool
from tests.heat.logs import NOW_US, rollups, seed

HALF_LIFE = 30 * DAY


def read(name="part-0.csv", nbytes=10, at_us=NOW_US - DAY, count=1):
    return AccessEvent("events", name, at_us, "read", nbytes, count)


def files(state_dir: Path) -> list[Path]:
    return sorted((state_dir / "spool").iterdir())


def test_spooled_reads_count_once_with_an_odd_name_too(catalog, tmp_path):
    seed(catalog, readers="storaged")
    spool = Spool(tmp_path)
    for n in range(3):
        spool.append(read(nbytes=n, count=2))
    spool.append(read(name='odd "name"\n\ud800.csv'))
    for _ in range(2):
        report = ingest_spool(catalog, tmp_path, now_us=NOW_US, half_life_us=HALF_LIFE)
    spool.close()
    assert rollups(catalog) == {("part-0.csv", NOW_US // DAY - 1): (6, 3, 0)}
    assert report.problems == []


def test_a_file_is_removed_once_it_is_counted_and_its_process_gave_it_up(catalog, tmp_path):
    seed(catalog, readers="storaged")
    spool = Spool(tmp_path)
    spool.append(read())
    ingest_spool(catalog, tmp_path, now_us=NOW_US, half_life_us=HALF_LIFE)
    assert len(files(tmp_path)) == 1, "its process may append to it"
    spool.append(read())
    spool.close()
    assert ingest_spool(catalog, tmp_path, now_us=NOW_US, half_life_us=HALF_LIFE).counted == 1
    assert files(tmp_path) == []
    spool.append(read())
    spool.close()
    ingest_spool(catalog, tmp_path, now_us=NOW_US, half_life_us=HALF_LIFE)
    assert rollups(catalog) == {("part-0.csv", NOW_US // DAY - 1): (3, 30, 0)}


def test_a_forgotten_spool_gives_its_file_up(catalog, tmp_path):
    seed(catalog, readers="storaged")
    Spool(tmp_path).append(read())
    assert ingest_spool(catalog, tmp_path, now_us=NOW_US, half_life_us=HALF_LIFE).counted == 1
    assert files(tmp_path) == []


def test_threads_write_whole_lines_into_one_file(tmp_path):
    spool = Spool(tmp_path)
    threads = [
        threading.Thread(target=lambda: [spool.append(read(name="x" * 500)) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.close()
    (path,) = files(tmp_path)
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 200


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_writes_a_file_of_its_own(tmp_path):
    spool = Spool(tmp_path)
    spool.append(read())
    child = os.fork()
    if child == 0:
        spool.append(read())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    spool.append(read())
    spool.close()
    assert sorted(len(path.read_text().splitlines()) for path in files(tmp_path)) == [1, 2]


def test_a_long_file_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "LARGEST_FILE", 1_000)
    spool = Spool(tmp_path)
    for _ in range(50):
        spool.append(read())
    spool.close()
    assert len(files(tmp_path)) > 5


def test_a_spool_that_cannot_be_written_raises_what_the_disk_says(tmp_path):
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(OSError, match="spool"):
        Spool(tmp_path).append(read())


def test_the_spool_covers_from_now_on_the_datasets_that_all_read_through_us(catalog, tmp_path):
    seed(catalog, readers="storaged")
    until = NOW_US - 3600 * SECOND
    first = ingest_spool(catalog, tmp_path, now_us=NOW_US, half_life_us=HALF_LIFE)
    assert first.coverage == {"events": (until, until)}
    later = ingest_spool(catalog, tmp_path, now_us=NOW_US + DAY, half_life_us=HALF_LIFE)
    assert later.coverage == {"events": (until, until + DAY)}


def test_the_spool_covers_no_dataset_that_others_read_by_path(catalog, tmp_path):
    seed(catalog)
    assert ingest_spool(catalog, tmp_path, now_us=NOW_US, half_life_us=HALF_LIFE).coverage == {}


def test_our_agent_in_our_own_spool_is_no_reason_to_leave_a_read_out(catalog, tmp_path):
    seed(catalog)
    event = {"ts": (NOW_US - DAY) // SECOND, "op": "read", "dataset": "events", "object": "part-1.csv"}
    (tmp_path / "log").write_text(json.dumps(event | {"agent": "storaged/1"}) + "\n")
    settings = {"now_us": NOW_US, "half_life_us": HALF_LIFE, "state_dir": tmp_path}
    assert ingest(catalog, LogSource("a", "spool", str(tmp_path / "log")), **settings).counted == 1
    assert ingest(catalog, LogSource("b", "jsonl", str(tmp_path / "log")), **settings).excluded == 1
