"""A log is known by its content: whatever becomes of its files, each line counts once."""

from __future__ import annotations

import gzip
import random
import shutil
import threading

import pytest
import sqlalchemy as sa
import zstandard
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from storaged.catalog import rollups as rollups_module
from storaged.catalog.rollups import WAITING_DAYS
from storaged.catalog.schema import access_waiting, log_blocks, log_lines, objects
from storaged.clock import DAY, SECOND
from storaged.errors import StoragedError
from storaged.heat import DAYS, REMEMBERED, YEAR, recent, score
from storaged.work.ingest import LogSource, counted_lines
from tests.heat.logs import NOW_US, SIZE, add_objects, event, expected, forget, rollups, run, seed, write
from tests.laws import examples

LINES = [event(n) for n in range(900)]
SLOW = [HealthCheck.too_slow]


@pytest.fixture
def logs(catalog, tmp_path):
    seed(catalog)
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


def fresh(catalog, logs):
    """For each Hypothesis example: no counts and no files."""
    forget(catalog)
    for path in logs.iterdir():
        path.unlink()


def test_a_log_counts_by_object_and_day_and_makes_heat_of_it(catalog, logs):
    write(logs / "a.jsonl", LINES)
    report = run(catalog, logs)
    assert (report.files, report.lines, report.counted) == (1, 900, 900)
    assert rollups(catalog) == expected(LINES)
    check_heat(catalog)


def check_heat(catalog):
    """Each object's heat and last read are those of LINES, by heat.py's own formula."""
    by_name: dict[str, list[tuple[int, int, int]]] = {}
    for (name, day), (reads, nbytes, _) in expected(LINES).items():
        by_name.setdefault(name, []).append((day, reads, nbytes))
    with catalog.read() as conn:
        rows = conn.execute(
            sa.select(
                objects.c.name,
                objects.c.last_read_us,
                objects.c.heat_reads,
                objects.c.heat_bytes,
                objects.c.heat_recent,
                *(objects.c[column] for column in REMEMBERED),
            )
        )
        for name, last_us, heat_reads, heat_bytes, heat_recent, *remembered in rows:
            days = by_name.get(name)
            if days is None:
                assert (last_us, heat_reads, heat_bytes, heat_recent) == (None, None, None, None)
                assert remembered == [None] * len(REMEMBERED)
                continue
            counts = [[(d, of[n]) for d, *of in days] for n in range(2)]
            of_spans = [score(of, span) for span in (YEAR, DAYS) for of in counts]
            of_one_day = [max(score([one], DAYS) or 0.0 for one in of) for of in counts]
            assert remembered == pytest.approx([*of_spans, *of_one_day], rel=1e-13)
            assert heat_reads == pytest.approx(score([(d, r) for d, r, _ in days], 30 * DAY), rel=1e-13)
            assert heat_bytes == pytest.approx(score([(d, b) for d, _, b in days], 30 * DAY), rel=1e-13)
            assert heat_recent == pytest.approx(score([(d, r) for d, r, _ in days], recent(30 * DAY)), rel=1e-13)
            newest = max(n for n in range(900) if name in LINES[n])
            assert last_us == NOW_US - 10 * DAY + newest * 600_000_000


def _same(path):
    pass


def _renamed(path):
    path.rename(path.with_name("another"))


def _copied(path):
    shutil.copy(path, path.with_name("copy.log"))


def _gzipped(path):
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def _gzipped_without_telling(path):
    path.write_bytes(gzip.compress(path.read_bytes()[:50_000]) + gzip.compress(path.read_bytes()[50_000:]))


def _zstd(path):
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    path.write_bytes(skippable + zstandard.compress(path.read_bytes()) + skippable)


def _head(path):
    write(path, LINES[:333])


def _tail(path):
    write(path, LINES[-10:])


def _middle(path):
    write(path, LINES[101:555])


def _twice_over(path):
    write(path.with_name("again"), LINES[400:])
    write(path, LINES[:500])


@pytest.mark.parametrize(
    "change",
    [
        _same,
        _renamed,
        _copied,
        _gzipped,
        _gzipped_without_telling,
        _zstd,
        _head,
        _tail,
        _middle,
        _twice_over,
    ],
)
def test_what_becomes_of_a_file_changes_no_count(catalog, logs, change):
    path = write(logs / "a.jsonl", LINES)
    run(catalog, logs)
    change(path)
    report = run(catalog, logs)
    assert report.counted == 0
    assert report.duplicate == report.lines > 0
    assert rollups(catalog) == expected(LINES)


def test_a_log_that_grows_counts_each_line_once(catalog, logs):
    @examples(catalog, 12, suppress_health_check=SLOW)
    @given(st.lists(st.integers(0, 900), max_size=6))
    def law(stops):
        fresh(catalog, logs)
        for stop in [*sorted(stops), 900]:
            write(logs / "a.jsonl", LINES[:stop])
            run(catalog, logs)
            assert rollups(catalog) == expected(LINES[:stop])

    law()


def test_overlapping_windows_of_a_log_in_any_order_count_their_union(catalog, logs):
    @examples(catalog, 12, suppress_health_check=SLOW)
    @given(st.lists(st.tuples(st.integers(0, 899), st.integers(1, 300)), min_size=1, max_size=8), st.booleans())
    def law(windows, at_once):
        fresh(catalog, logs)
        union = set()
        for n, (first, length) in enumerate(windows):
            write(logs / f"{n}.jsonl", LINES[first : first + length])
            union.update(range(first, min(first + length, 900)))
            if not at_once:
                run(catalog, logs, f"{n}.jsonl")
        run(catalog, logs)
        assert rollups(catalog) == expected(LINES[n] for n in sorted(union))
        write(logs / "whole.jsonl", LINES)
        run(catalog, logs)
        assert rollups(catalog) == expected(LINES)

    law()


def test_lines_count_the_same_in_whatever_files_and_order_they_come(catalog, logs):
    @examples(catalog, 12, suppress_health_check=SLOW)
    @given(st.randoms(use_true_random=False))
    def law(chance):
        fresh(catalog, logs)
        mixed = chance.sample(LINES, len(LINES))
        for n in chance.sample(range(5), 5):
            write(logs / f"{n}.jsonl", mixed[n::5])
            if chance.random() < 0.5:
                run(catalog, logs)
        run(catalog, logs)
        assert rollups(catalog) == expected(LINES)

    law()


def test_equal_lines_of_one_log_that_grows_count_each_and_only_once(catalog, logs):
    @examples(catalog, 12, suppress_health_check=SLOW)
    @given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 60))
    @example([0, 0], 1)
    @example([0, 1, 0, 1, 0, 1], 4)
    def law(picks, stop):
        fresh(catalog, logs)
        lines = [LINES[n] for n in picks]
        for grown in (lines[:stop], lines):
            write(logs / "a.jsonl", grown)
            run(catalog, logs)
            assert rollups(catalog) == expected(grown)
        assert run(catalog, logs).counted == 0
        assert rollups(catalog) == expected(lines)

    law()


def test_two_logs_put_together_count_nothing_anew(catalog, logs):
    write(logs / "a.jsonl", LINES[:450])
    write(logs / "b.jsonl", LINES[450:])
    run(catalog, logs)
    write(logs / "both.jsonl", LINES[450:] + LINES[:450])
    report = run(catalog, logs, "both.jsonl")
    assert (report.counted, report.duplicate) == (0, 900)
    assert rollups(catalog) == expected(LINES)


def test_a_log_read_in_small_blocks_and_batches_is_the_same_log(catalog, logs, monkeypatch):
    monkeypatch.setattr(rollups_module, "_FETCHED", 5)
    write(logs / "a.jsonl", LINES)
    run(catalog, logs, block_bytes=4_000, batch_lines=100)
    assert rollups(catalog) == expected(LINES)
    check_heat(catalog)
    report = run(catalog, logs)
    assert (report.counted, report.duplicate) == (0, 900)


def test_an_ingest_that_stops_halfway_is_taken_up_where_it_stopped(catalog, logs):
    write(logs / "a.jsonl", LINES)

    class StopError(StoragedError):
        pass

    def stop(report):
        if report.counted > 300:
            raise StopError("enough")

    with pytest.raises(StopError):
        run(catalog, logs, block_bytes=4_000, batch_lines=100, progress=stop)
    assert 300 < sum(reads for reads, _, _ in rollups(catalog).values()) < 900
    run(catalog, logs, block_bytes=4_000, batch_lines=100)
    assert rollups(catalog) == expected(LINES)


@pytest.mark.on_both
def test_two_ingests_at_once_count_each_line_once(catalog, logs):
    chance = random.Random(1)
    for n in range(6):
        first = chance.randrange(600)
        write(logs / f"{n}.jsonl", LINES[first : first + 300])
    write(logs / "whole.jsonl", LINES)
    counted, barrier = [], threading.Barrier(2, timeout=240)

    def work():
        barrier.wait()
        counted.append(run(catalog, logs, block_bytes=4_000, batch_lines=50).counted)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == 900
    assert rollups(catalog) == expected(LINES)


def test_each_source_counts_for_itself(catalog, logs):
    write(logs / "a.jsonl", LINES[:100])
    run(catalog, logs)
    other = run(catalog, logs, source=LogSource("other", "jsonl", str(logs / "*")))
    assert other.counted == 100


def test_an_unfinished_last_line_waits_for_its_end(catalog, logs):
    (logs / "a.jsonl").write_text(LINES[0] + LINES[1][:-20])
    assert run(catalog, logs).lines == 1
    (logs / "a.jsonl").write_text(LINES[0] + LINES[1])
    report = run(catalog, logs)
    assert (report.lines, report.counted, report.duplicate) == (2, 1, 1)


@pytest.mark.parametrize("block_bytes", [1_000, 5_000, 1 << 20])
def test_a_line_that_a_log_repeats_counts_each_time_whatever_the_blocks_are(catalog, logs, block_bytes):
    write(logs / "a.jsonl", [LINES[0]] * 500 + LINES[1:20] + [LINES[20]] * 3)
    assert run(catalog, logs, block_bytes=block_bytes).counted == 522
    write(logs / "copy.jsonl", [LINES[0]] * 400)
    assert run(catalog, logs, block_bytes=block_bytes).counted == 0


def test_logs_that_are_merged_sorted_and_filtered_count_nothing_anew(catalog, logs):
    write(logs / "a.jsonl", LINES[:500])
    write(logs / "b.jsonl", LINES[300:])
    run(catalog, logs)
    write(logs / "merged.jsonl", sorted(LINES[::3]))
    report = run(catalog, logs, "merged.jsonl")
    assert (report.counted, report.duplicate) == (0, 300)


def test_what_the_ledger_forgot_counts_no_more_and_new_events_do(catalog, logs):
    write(logs / "a.jsonl", LINES)
    run(catalog, logs)
    later = NOW_US + counted_lines.KEPT_US - 5 * DAY  # the ledger forgets the first half
    run(catalog, logs, now_us=later)
    with catalog.read() as conn:
        oldest = conn.execute(sa.select(sa.func.min(log_lines.c.minute))).scalar_one() * counted_lines.MINUTE
    assert later - counted_lines.KEPT_US <= oldest < later - counted_lines.KEPT_US + 600 * SECOND
    write(logs / "copy.jsonl", LINES[::-1])
    new = event(2_000)
    write(logs / "late.jsonl", [event(1, bytes=12_345), new])
    report = run(catalog, logs, now_us=later)
    assert (report.counted, report.late + report.duplicate) == (1, 1 + len(LINES) * 2)
    assert report.late == 5 * 144 + 1
    assert rollups(catalog) == expected([*LINES, new])


def test_blocks_that_are_still_there_are_known_however_old_they_are(catalog, logs):
    write(logs / "a.jsonl", LINES)
    for days in (0, 60, 120, 180, 240):
        report = run(catalog, logs, now_us=NOW_US + days * DAY)
        assert report.late == 0
    (logs / "a.jsonl").unlink()
    write(logs / "b.jsonl", [event(50_000)])
    run(catalog, logs, now_us=NOW_US + 341 * DAY)
    with catalog.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(log_blocks)).scalar_one() == 1


def test_logs_from_long_ago_count_if_the_ledger_never_knew_them(catalog, logs):
    write(logs / "a.jsonl", LINES)
    assert run(catalog, logs, now_us=NOW_US + 400 * DAY).counted == 900


def test_reads_of_names_that_no_scan_found_yet_count_once_a_scan_finds_them(catalog, logs):
    lines = [event(n, url=f"s3://bucket/events/new-{n % 2}.csv") for n in range(20)]
    lines += [event(n, url="s3://bucket/events/new-0.csv", bytes=None, count=2) for n in range(20, 30)]
    write(logs / "a.jsonl", lines)
    report = run(catalog, logs)
    assert (report.counted, report.unknown) == (0, 30)
    write(logs / "b.jsonl", [event(30, url="s3://bucket/events/new-0.csv")])
    run(catalog, logs)
    assert rollups(catalog) == {}
    with catalog.begin() as conn:
        add_objects(conn, 1, ["new-0.csv"])
    for _ in range(2):
        run(catalog, logs)
        told = rollups(catalog)
        assert {name for name, _ in told} == {"new-0.csv"}
        assert sum(reads for reads, _, _ in told.values()) == 10 + 20 + 1
        assert (
            sum(moved for _, moved, _ in told.values()) == sum(100 + n % 3 for n in range(0, 20, 2)) + 20 * SIZE + 100
        )
    with catalog.read() as conn:
        heat = conn.execute(sa.select(objects.c.heat_reads).where(objects.c.name == "new-0.csv")).scalar_one()
        assert heat == pytest.approx(score([(day, told[name, day][0]) for name, day in told], 30 * DAY))
        waiting = set(conn.execute(sa.select(access_waiting.c.name)).scalars())
    assert waiting == {"new-1.csv"}


def test_reads_of_what_no_scan_ever_finds_wait_no_longer_than_a_bound(catalog, logs):
    write(logs / "a.jsonl", [event(0, url="s3://bucket/events/never.csv")])
    run(catalog, logs)
    for days, held in ((WAITING_DAYS - 11, 1), (WAITING_DAYS, 0)):
        run(catalog, logs, now_us=NOW_US + days * DAY)
        with catalog.read() as conn:
            assert conn.execute(sa.select(sa.func.count()).select_from(access_waiting)).scalar_one() == held


def test_a_batch_ends_by_the_names_that_it_holds(catalog, logs, monkeypatch):
    """What is held of each name takes memory, whether the catalog knows it or not; few names are one batch still."""
    monkeypatch.setattr("storaged.work.ingest.run.BATCH_NAMES", 200)
    write(logs / "few.jsonl", map(event, range(1_000)))
    write(logs / "many.jsonl", (event(n, url=f"s3://bucket/events/new-{n}") for n in range(1_000)))
    told: list[int] = []
    for pattern in ("few*", "many*"):
        batches: list[int] = []
        report = run(catalog, logs, pattern, block_bytes=4_000, progress=lambda r, b=batches: b.append(r.lines))
        assert report.counted + report.unknown == 1_000
        told.append(len(batches))
    assert told[0] == 1
    assert told[1] >= 4
