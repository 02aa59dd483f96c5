"""From nothing to advice: on lakes of several kinds, in a directory and in a bucket, with nothing written to either."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from demo.sources import FLIGHTS
from storaged.stores.s3.session import S3Session
from storaged.testing.servers import ENVIRONMENT, REGION, MotoServer
from tests.cli.lake import OLD, Answer, typed

STANDARD = ("--prices", "aws/us-east-1/standard")
READS = {"GetObject", "HeadObject", "ListObjectsV2", "GetBucketVersioning", "GetObjectLockConfiguration"}


def flights(rows: int) -> bytes:
    """The first rows of a year's flights out of New York."""
    with zipfile.ZipFile(FLIGHTS.path("flights.csv.zip")) as archive, archive.open("flights.csv") as file:
        return b"".join(islice(file, rows + 1))


def tables(root: Path) -> None:
    """CSV as it came, and Parquet as pyarrow writes it."""
    text = flights(20_000)
    (root / "flights.csv").write_bytes(text)
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(io.BytesIO(text)), root / "flights.parquet")


def pictures(root: Path) -> None:
    """JPEG with a label beside each."""
    chance = np.random.default_rng(1)
    for n in range(110):
        Image.fromarray(chance.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(root / f"{n:03}.jpg")
        (root / f"{n:03}.json").write_text(f'{{"file": "{n:03}.jpg", "label": "class {n % 7}", "boxes": []}}')


def checkpoints(root: Path) -> None:
    """Weights, which are noise but for their exponents."""
    chance = np.random.default_rng(2)
    for step in (100, 200):
        np.save(root / f"weights-{step}.npy", chance.standard_normal(200_000, dtype=np.float32))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where a user has files."""
    place = tmp_path / "lake"
    place.mkdir()
    return place


def state(root: Path) -> dict[str, tuple[int, int]]:
    """Everything below a directory, and itself."""
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in (root, *root.rglob("*"))}


def aged(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, (OLD, OLD))


def good(config: Path, *arguments: str) -> Answer:
    answer = typed(config, *arguments)
    assert answer.code == 0, answer
    return answer


@pytest.mark.parametrize(
    ("make", "codecs"),
    [(tables, {"parquet", "zstd"}), (pictures, set()), (checkpoints, {"tensor"})],
    ids=["tables", "pictures", "checkpoints"],
)
def test_advice_fits_what_there_is_and_nothing_is_written_there(
    root: Path, tmp_path: Path, make: Callable[[Path], None], codecs: set[str]
) -> None:
    """Tables become smaller; small pictures and their labels in packs never pay where nothing is billed by number, and
    weights go by their planes."""
    make(root)
    aged(root)
    before, config = state(root), tmp_path / "here" / "storaged.yaml"
    config.parent.mkdir()
    told = good(config, "quickstart", str(root), *STANDARD, "--json").json
    assert state(root) == before
    assert told["wrote"]
    assert told["assumed"] == ["readers raw (--readers)"]
    assert {p["text"].partition("codec: ")[2].partition("}")[0] for p in told["proposals"]} == codecs
    assert all(p["needs_readers"] == ["lake"] and p["money"] for p in told["proposals"])
    text = config.read_text()
    later = good(config, "quickstart", str(root), "--readers", "storaged", "--prices", "none")
    assert "is there already, and --prices, --readers not looked at: edit the file instead" in later.err
    again = later.out
    assert config.read_text() == text
    assert state(root) == before
    assert f"nothing was moved, and nothing was written at file://{root}" in again
    if make is pictures:
        assert "1 pack" not in again
        assert "no policy pays:" in again
        assert "it does not pay back in time (require)" in again
    good(config, "advise", "--write", str(config.parent / "policies"))
    assert good(config, "policy", "check", "--json").json["warnings"] == []
    if make is checkpoints:
        config.write_text(text.replace("readers: raw", "readers: storaged"))
        assert good(config, "plan", "--json").json["actions"] == 2
        applied = good(config, "apply", "1", "--yes")
        assert "the root of lake carries no claim, so its originals stay where they are" in applied.err
        assert "2 objects done" in applied.out


def test_a_place_that_it_cannot_work_on_leaves_nothing_behind(root: Path, tmp_path: Path) -> None:
    config = tmp_path / "storaged.yaml"
    for words, said in (
        ((str(root / "none"),), "is no directory"),
        (("gs://bucket/x",), "is at no store that storaged knows"),
        ((str(tmp_path),), f"{config} lies below {tmp_path}, where nothing is written"),
        ((str(root), "--state", str(root / "state")), f"{root}/state lies below {root}"),
        ((str(root), "--html", str(root / "advice.html")), f"{root}/advice.html lies below {root}"),
        ((str(root), "--prices", "local/example/dsk"), "no price book knows `local/example/dsk`"),
        ((str(root), "--readers", "some"), "readers"),
        ((str(root), "--name", "a b"), "cannot be the name of a dataset"),
    ):
        answer = typed(config, "quickstart", *words)
        assert (answer.code, list(tmp_path.iterdir()), list(root.iterdir())) == (2, [root], []), answer
        assert said in answer.err
    config.write_text("tiers: {hot: {rank: 0, url: file:///srv/hot}}\n")
    answer = typed(config, "quickstart", str(root))
    assert answer.code == 2
    assert f"has no dataset at file://{root}" in answer.err


def test_folders_may_be_called_anything(tmp_path: Path) -> None:
    """What YAML would read as a number, and what is beyond 16 bits."""
    root = tmp_path / "\N{OPEN FILE FOLDER} \N{LATIN SMALL LETTER E WITH ACUTE}" / "2024"
    root.mkdir(parents=True)
    (root / "a.csv").write_text("a,b\n" * 99)
    told = good(tmp_path / "storaged.yaml", "quickstart", str(root), "--json").json
    assert [(scan["dataset"], scan["added"]) for scan in told["scans"]] == [("2024", 1)]


def test_a_bucket_is_only_read(tmp_path: Path, moto: MotoServer, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its objects nor the place of the tiers, and nothing is tried there; dollars are those of S3."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    user = S3Session(f"s3://{bucket}/raw", moto.access)
    user.call("put_object", Key="raw/flights.csv", Body=flights(5_000))
    moto.clear_log()
    config = tmp_path / "storaged.yaml"
    words = ("quickstart", f"s3://{bucket}/raw", "--endpoint", moto.endpoint, "--region", REGION)
    told = good(config, *words, "--prices", "aws/us-east-1", "--readers", "storaged", "--json").json
    assert {request.operation for request in moto.log()} - READS == set()
    assert told["assumed"] == [f"tiers below s3://{bucket}/storaged-tiers (--tiers)"]
    assert told["scans"][0]["added"] == 1
    assert [c["tier"] for s in told["small_objects"] for c in s["classes"]] == []
    assert told["kinds"][0]["best"] == "zstd"
    assert "who reads raw" in told["unknown"][0]
    assert "--atime" not in told["unknown"][0], "buckets keep no such time"
    assert good(config, *words, "--json").json["scans"][0]["unchanged"] == 1
    assert {request.operation for request in moto.log()} - READS == set()


def test_where_there_is_nothing_it_says_so_and_what_next(root: Path, tmp_path: Path) -> None:
    """It did scan, so that nobody is told to do that."""
    config = tmp_path / "own" / "storaged.yaml"
    config.parent.mkdir()
    answer = good(config, "quickstart", str(root))
    assert f"file://{root} is empty: there is nothing to advise on" in answer.out
    assert f"once files are there, run the same again; is it the wrong place, remove {config} first" in answer.out
    assert good(config, "quickstart", str(root), "--json").json["scans"][0]["seen"] == 0
    answer = typed(config, "advise")
    assert answer.code == 2
    assert "their roots were empty when they were last scanned; `storagectl scan` looks again" in answer.err
    tables(root)
    out = good(config, "quickstart", str(root)).out
    assert "is empty" not in out
    assert "nothing was moved" in out
