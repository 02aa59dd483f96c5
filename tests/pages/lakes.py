"""The lakes that the pages work on: what their readers are thought to have already."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from storaged.clock import DAY, SystemClock, to_datetime
from storaged.testing.servers import MotoServer
from tests.heat.test_s3_access import record

LAKE_CONFIG = """\
catalog: sqlite:///storaged.db
tiers:
  hot: {rank: 0, url: "file:///srv/storaged/hot", prices: aws/us-east-1/standard}
  cold: {rank: 1, url: "file:///srv/storaged/cold", prices: aws/us-east-1/glacier-ir}
datasets:
  lake: {root: "file:///srv/lake", readers: storaged}
"""
LAKE_POLICY = """\
name: shrink
target: {dataset: lake}
when: {size_over: 1KiB}
where: "object LIKE '%s%%'"
to: {tier: cold, codec: zstd}
limits: {max_percent: 100%%}
"""


def file(path: Path, content: bytes, *, days_old: float) -> None:
    """A file that its user wrote so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    when = time.time() - days_old * 86_400
    os.utime(path, (when, when))


def table(rows: int) -> bytes:
    """A CSV file that compresses."""
    return b"time,value\n" + b"".join(b"%d,%d\n" % (n, n % 7) for n in range(rows))


def projects(srv: Path) -> None:
    """A research archive: two projects finished years ago, a new one, and a small file in each; a case of the court."""
    chance = random.Random(1)
    for project, days_old in (("hubble", 1_500), ("kepler", 900)):
        for n in range(5):
            file(srv / f"projects/{project}/raw-{n:02}.dat", chance.randbytes(20_000) * 8, days_old=days_old)
    file(srv / "projects/hubble/README", b"what it was\n", days_old=1_500)
    file(srv / "projects/webb/raw-00.dat", table(20_000), days_old=30)
    file(srv / "legal/mail.mbox", table(10_000), days_old=2_000)


def share(srv: Path) -> None:
    """An NFS share with work of today and what is done, and a large disk beside it."""
    for n in range(3):
        file(srv / f"nfs/work/now-{n}.csv", table(1_000), days_old=2)
    for year in (2024, 2025):
        for n in range(10):
            file(srv / f"nfs/done/{year}/run-{n:02}.csv", table(5_000), days_old=200)


def nine_days(srv: Path) -> None:
    """A lake of 9 MiB, a folder for each day."""
    chance = random.Random(2)
    for day in range(1, 10):
        file(srv / f"lake/dt={day}/a.bin", chance.randbytes(1 << 20), days_old=100 - day)


def eight_files(srv: Path) -> None:
    """Files of `lake`, which `shell` then takes through storaged."""
    for tier in ("hot", "cold"):
        (srv / "storaged" / tier).mkdir(parents=True)
    for name in ("old", "old-2", "old-3", "old-4", "new", "new-2", "stay", "stay-2"):
        file(srv / f"lake/{name}.csv", table(2_000), days_old=100)


def log_buckets(moto: MotoServer) -> Iterator[None]:
    """acme-logs with 40 logs of 45 days ago, acme-access-logs that tells of one day with two reads, acme-tiers."""
    import boto3

    for bucket in ("acme-logs", "acme-access-logs", "acme-tiers"):
        moto.make_bucket(bucket)
    user = boto3.client("s3", endpoint_url=moto.endpoint)
    now_us = SystemClock().now_us()
    moto.set_time(now_us - 45 * DAY)
    body = b"".join(b"%d GET /v1/items 200\n" % n for n in range(12_000))
    keys = [f"app/dt=2026-08-{day:02}/api-{n:02}.log" for day in range(1, 11) for n in range(4)]
    for key in keys:
        user.put_object(Bucket="acme-logs", Key=key, Body=body)
    moto.set_time(None)
    lines = [
        record(
            bucket="acme-logs",
            key=key,
            time=f"{to_datetime(now_us - 2 * DAY):%d/%b/%Y:%H:%M:%S} +0000",
            bytes_sent=str(len(body)),
            object_size=str(len(body)),
            request_id=f"{n:016X}",
        )
        for n, key in enumerate(keys[-2:])
    ]
    user.put_object(Bucket="acme-access-logs", Key="acme-logs/2026-09-01-00-00-00-A", Body="".join(lines).encode())
    user.close()
    yield
    for bucket in ("acme-logs", "acme-access-logs", "acme-tiers"):
        moto.forget(bucket)
