"""Logs that are in a store: which are fetched, and that each line counts once however they are delivered."""

from __future__ import annotations

import gzip
from functools import partial

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import log_files
from storaged.clock import DAY
from storaged.errors import PermissionDenied, UsageError
from storaged.stores.access import Opening
from storaged.stores.local import LocalStore
from storaged.stores.memory import MemoryStore
from storaged.stores.s3.store import S3Store
from storaged.testing.faults import Fault, Faults, FaultyStore
from storaged.work.ingest import LogSource, fetch, known
from storaged.work.ingest.fetch import key_pattern, place
from tests.heat.logs import NOW_US, event, expected, rollups, run, seed

LINES = [event(n) for n in range(300)]


class Logs:
    """A bucket of logs, and what an ingest of it opens."""

    def __init__(self, catalog, directory):
        self.catalog = catalog
        self.directory = directory
        self.store = MemoryStore("memory://logs")
        self.opened = []
        self.after = None

    def put(self, key, lines, pack=lambda data: data):
        self.store.put(key, pack("".join(lines).encode()))

    def run(self, *plan, **more):
        faults = Faults(*plan, before=self._note, after=self.after)

        def opener(url):
            assert url == "memory://logs"
            return FaultyStore(self.store, faults)

        source = LogSource("reads", "jsonl", "memory://logs/pro?/**")
        report = run(self.catalog, self.directory, source=source, opener=opener, **more)
        faults.assert_all_hit()
        return report

    def _note(self, method, key):
        if method == "open":
            self.opened.append(key)

    def fetched(self):
        """Keys that were opened since this was asked last, in order."""
        keys, self.opened = sorted(self.opened), []
        return keys


@pytest.fixture
def logs(catalog, tmp_path):
    seed(catalog)
    directory = tmp_path / "state" / "unused"
    directory.mkdir(parents=True)
    return Logs(catalog, directory)


def remembered(catalog):
    with catalog.read() as conn:
        return set(conn.execute(sa.select(log_files.c.key)).scalars())


def test_only_logs_that_were_not_read_to_their_ends_are_fetched(catalog, logs):
    logs.put("prod/b", LINES[100:200])
    logs.put("prod/other/c", LINES[200:300], gzip.compress)
    logs.put("production", ["not a log of ours\n"])
    report = logs.run()
    assert (report.files, report.counted, report.problems) == (2, 200, [])
    assert logs.fetched() == ["prod/b", "prod/other/c"]
    logs.put("prod/a-late-one-with-an-earlier-name", LINES[:100])
    assert logs.run().counted == 100
    assert logs.fetched() == ["prod/a-late-one-with-an-earlier-name"]
    assert rollups(catalog) == expected(LINES)


def test_nothing_is_left_in_the_state_directory(logs):
    for n in range(50):
        logs.put(f"prod/{n}", LINES[n : n + 1])
    assert logs.run().files == 50
    assert [p.name for p in logs.directory.parent.iterdir()] == ["unused"]


def test_no_more_than_a_bound_is_on_disk_at_a_time(logs, monkeypatch):
    monkeypatch.setattr(fetch, "LARGEST", 1)
    for n in range(30):
        logs.put(f"prod/{n:02d}", LINES[10 * n : 10 * n + 10])
    held = []
    logs.after = lambda method, key: held.append(len(list(logs.directory.parent.glob("ingest-*/*.log"))))
    assert logs.run().counted == 300
    assert 1 <= max(held) <= 2, "one that is fetched, beside the one that is read"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_logs_that_are_delivered_twice_count_once(catalog, logs, pack):
    logs.put("prod/a", LINES[:200])
    logs.put("prod/a.again", LINES[:200], pack)
    logs.put("prod/mixed", LINES[150:300][::-1])
    assert logs.run().counted == 300
    logs.put("prod/z", LINES[20:280], pack)
    assert (logs.run().counted, logs.fetched()[-1]) == (0, "prod/z")
    assert rollups(catalog) == expected(LINES)


def test_a_log_that_was_replaced_is_fetched_anew_and_only_its_new_lines_count(catalog, logs):
    logs.put("prod/a", LINES[:200])
    logs.run()
    logs.put("prod/a", LINES[100:300])
    assert logs.run().counted == 100
    assert rollups(catalog) == expected(LINES)


def test_the_last_line_of_a_stored_log_needs_no_end(catalog, logs):
    logs.put("prod/a", ["".join(LINES)[:-1]])
    assert logs.run().counted == 300


def test_a_log_that_cannot_be_fetched_is_a_problem_and_the_others_count(logs):
    logs.put("prod/a", LINES[:100])
    logs.put("prod/b", LINES[100:])
    report = logs.run(Fault("open", 1, PermissionDenied("no")))
    assert report.counted in (100, 200)
    assert (len(report.problems), report.coverage) == (1, {})
    assert logs.run().counted == 300 - report.counted


def test_a_store_that_cannot_be_listed_is_a_problem(logs):
    logs.put("prod/a", LINES[:100])
    report = logs.run(Fault("list", 1, PermissionDenied("no list")))
    assert (report.problems, report.coverage) == (["no list"], {})


def test_a_log_damaged_in_its_compression_is_fetched_again(catalog, logs):
    logs.put("prod/a", LINES[:100], lambda data: gzip.compress(data)[:-9])
    report = logs.run()
    assert report.problems[0].startswith("prod/a: ")
    assert remembered(catalog) == set()
    logs.put("prod/a", LINES[:100], gzip.compress)
    assert logs.run().problems == []
    assert rollups(catalog) == expected(LINES[:100])


def test_a_place_without_any_log_covers_nothing(logs):
    logs.put("elsewhere/a", LINES)
    report = logs.run()
    assert (report.coverage, len(report.problems)) == ({}, 1)


def test_logs_that_were_read_and_are_still_there_extend_coverage(logs):
    logs.put("prod/a", LINES)
    first = logs.run().coverage["events"]
    later = logs.run(now_us=NOW_US + DAY).coverage["events"]
    assert (later[0], later[1]) == (first[0], first[1] + DAY)


def test_logs_that_are_gone_are_forgotten(catalog, logs, monkeypatch):
    monkeypatch.setattr(known, "_LISTED", 3)
    for n in range(10):
        logs.put(f"prod/{n}", LINES[n : n + 1])
    logs.run()
    assert remembered(catalog) == {f"prod/{n}" for n in range(10)}
    for n in (0, 4, 5, 9):
        logs.store.remove(f"prod/{n}")
    logs.run()
    assert remembered(catalog) == {f"prod/{n}" for n in (1, 2, 3, 6, 7, 8)}


def test_an_ingest_that_stops_halfway_fetches_only_the_rest(catalog, logs):
    for n in range(30):
        logs.put(f"prod/{n:02d}", LINES[10 * n : 10 * n + 10])

    def stop(report):
        if report.counted >= 100:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError):
        logs.run(batch_lines=50, block_bytes=250, progress=stop)
    assert 100 <= sum(reads for reads, _, _ in rollups(catalog).values()) < 300
    logs.fetched()
    logs.run()
    assert 0 < len(logs.fetched()) <= 20
    assert rollups(catalog) == expected(LINES)


def test_a_local_store_may_be_named_by_its_url(catalog, tmp_path):
    seed(catalog)
    folder = tmp_path / "logs" / "prod"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text("".join(LINES))
    path = f"file://{tmp_path}/logs/prod/*.jsonl"
    for counted in (300, 0):
        source = LogSource("reads", "jsonl", path)
        report = run(catalog, tmp_path / "logs", source=source, opener=LocalStore)
        assert (report.counted, report.problems) == (counted, [])


@pytest.mark.parametrize(
    ("path", "url", "glob"),
    [
        ("s3://logs/prod/*", "s3://logs/prod", "*"),
        ("s3://logs/*", "s3://logs", "*"),
        ("s3://logs/prod2026-*/x", "s3://logs", "prod2026-*/x"),
        ("s3://logs/a/b.log", "s3://logs/a", "b.log"),
        ("s3://logs/a/[ab]/c", "s3://logs/a", "[ab]/c"),
    ],
)
def test_a_path_is_a_store_and_a_glob_of_its_keys(path, url, glob):
    assert place(path) == (url, glob)


def test_a_path_without_a_scheme_is_local_and_one_without_a_bucket_is_refused():
    assert place("/var/log/*") is None
    with pytest.raises(UsageError):
        place("s3://log*")


@pytest.mark.parametrize(
    ("glob", "key", "fits"),
    [
        ("*", "a", True),
        ("*", "a/b", False),
        ("**", "a/b", True),
        ("**/*.gz", "a/b/c.gz", True),
        ("**/*.gz", "c.gz", True),
        ("**/*.gz", "c.zst", False),
        ("a/*/c", "a/b/c", True),
        ("a/*/c", "a/b/b/c", False),
        ("20??-*", "2026-x", True),
        ("20??-*", "20/6-x", False),
        ("[!a]b", "cb", True),
        ("[!a]b", "ab", False),
        ("[a-c\\]x", "bx", True),
        ("a.b+(c)", "a.b+(c)", True),
        ("a.b", "axb", False),
        ("[a", "[a", True),
        ("*", "a\nb", True),
    ],
)
def test_a_glob_of_keys_stays_within_its_segments(glob, key, fits):
    assert bool(key_pattern(glob).fullmatch(key)) is fits


def test_logs_of_a_bucket_are_read_as_s3_delivers_them(catalog, moto, bucket, s3_user, tmp_path):
    seed(catalog)
    (tmp_path / "logs").mkdir()
    opener = partial(S3Store, how=Opening(access=moto.access))
    source = LogSource("reads", "jsonl", f"s3://{bucket}/prod/2026-*")

    def ingested():
        report = run(catalog, tmp_path / "logs", source=source, opener=opener)
        assert report.problems == []
        return report.files, report.counted

    for n in range(3):
        s3_user.put_object(Bucket=bucket, Key=f"prod/2026-01-0{n}", Body="".join(LINES[100 * n : 100 * n + 100]))
    s3_user.put_object(Bucket=bucket, Key="prod/", Body=b"")
    assert ingested() == (3, 300)
    assert ingested() == (0, 0)
    s3_user.put_object(Bucket=bucket, Key="prod/2026-00", Body=gzip.compress("".join(LINES[50:]).encode()))
    assert ingested() == (1, 0)
    assert rollups(catalog) == expected(LINES)
    keys = [found["Key"] for found in s3_user.list_objects_v2(Bucket=bucket)["Contents"]]
    assert not any(".storaged" in key for key in keys), "a log bucket is only read"
