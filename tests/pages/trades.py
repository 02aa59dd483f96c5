"""Lakes of three trades, in the formats that they really have: frames of a test fleet, market ticks, medical images."""

from __future__ import annotations

import io
import json
import math
import random
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import product

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from storaged.clock import DAY, SECOND, SystemClock, to_datetime
from storaged.testing.servers import MotoServer
from tests.heat.test_s3_access import record


def picture(chance: random.Random, second: int) -> bytes:
    """A JPEG of a road with things beside it."""
    image = Image.new("RGB", (640, 360), (100, 120, 150))
    draw = ImageDraw.Draw(image)
    draw.polygon([(0, 360), (320 - second, 180), (640, 360)], fill=(60, 60, 60))
    for _ in range(25):
        x, y = chance.randrange(640), chance.randrange(360)
        colour = tuple(chance.randrange(256) for _ in range(3))
        draw.rectangle([x, y, x + chance.randrange(40), y + chance.randrange(30)], fill=colour)
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=85)
    return stored.getvalue()


def cloud(chance: random.Random) -> bytes:
    """4,000 points of a lidar with 16 rings, as a binary PCD file."""
    points = 4_000
    header = f"""\
# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z intensity
SIZE 4 4 4 4
TYPE F F F F
COUNT 1 1 1 1
WIDTH {points}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {points}
DATA binary
"""
    body = bytearray()
    for n in range(points):
        x, y = 20 * math.cos(n / 200) + chance.random() / 50, 20 * math.sin(n / 200)
        body += struct.pack("<ffff", round(x, 3), round(y, 3), round((n % 16) * 0.1, 3), (n % 8) / 8)
    return header.encode() + bytes(body)


def accelerations(chance: random.Random, second: int) -> bytes:
    """Twenty measurements of a second."""
    rows = [
        {"t": second + n / 20, "ax": round(chance.gauss(0, 0.2), 4), "az": round(chance.gauss(9.81, 0.2), 4)}
        for n in range(20)
    ]
    return json.dumps(rows).encode()


def frames() -> dict[str, bytes]:
    """Nine seconds of five drives."""
    chance, found = random.Random(1), dict[str, bytes]()
    for drive in range(1, 6):
        for second in range(9):
            folder = f"drives/drive={drive:04}/second={second:03}"
            found[f"{folder}/front.jpg"] = picture(chance, second)
            found[f"{folder}/lidar.pcd"] = cloud(chance)
            found[f"{folder}/imu.json"] = accelerations(chance, second)
    return found


@contextmanager
def fleet(moto: MotoServer) -> Iterator[None]:
    """Frames of 120 days ago in acme-fleet, and a log of it: the fifth drive was read two days ago."""
    now_us, kept = SystemClock().now_us(), frames()
    lines = [
        read("acme-fleet", name, len(kept[name]), now_us - 2 * DAY, n)
        for n, name in enumerate(kept)
        if "drive=0005" in name
    ]
    with _buckets(moto, ("acme-fleet", "acme-access-logs", "acme-tiers")):
        _put(moto, "acme-fleet", kept, now_us - 120 * DAY)
        _put(moto, "acme-access-logs", {"acme-fleet/2026-09-01-00-00-00-A": "".join(lines).encode()}, now_us)
        yield


def read(bucket: str, key: str, size: int, when_us: int, number: int) -> str:
    """A line of S3's access log: all of an object was read."""
    return record(
        bucket=bucket,
        key=key,
        time=f"{to_datetime(when_us):%d/%b/%Y:%H:%M:%S} +0000",
        bytes_sent=str(size),
        object_size=str(size),
        request_id=f"{number:016X}",
    )


@contextmanager
def _buckets(moto: MotoServer, names: tuple[str, ...]) -> Iterator[None]:
    for name in names:
        moto.make_bucket(name)
    yield
    for name in names:
        moto.forget(name)


def _put(moto: MotoServer, bucket: str, contents: Mapping[str, bytes], when_us: int) -> None:
    """Objects that their user wrote at this instant."""
    import boto3

    user = boto3.client("s3", endpoint_url=moto.endpoint)
    moto.set_time(when_us)
    for key, body in contents.items():
        user.put_object(Bucket=bucket, Key=key, Body=body)
    moto.set_time(None)
    user.close()


def ticks(day: str) -> bytes:
    """Trades of a day in four papers, as CSV: nanoseconds and the exchange's own numbers are in it."""
    chance, nano = random.Random(1), 34_200 * 10**9
    rows, prices = (
        ["time,symbol,price,size,exchange,trade"],
        {"ACME": 5_000, "BOLT": 12_000, "CORE": 800, "DELI": 3_100},
    )
    for _ in range(8_000):
        nano += chance.randrange(5_800_000_000)
        symbol = chance.choice(list(prices))
        prices[symbol] += chance.randrange(-3, 4)
        minute, rest = divmod(nano, 60 * 10**9)
        time = f"{day}T{minute // 60:02}:{minute % 60:02}:{rest // 10**9:02}.{rest % 10**9:09}"
        size, trade = chance.randrange(1, 9) * 100, chance.randrange(10**12)
        rows.append(f"{time},{symbol},{prices[symbol] / 100:.2f},{size},{'XYZ'[nano % 3]},{trade:012}")
    return ("\n".join(rows) + "\n").encode()


@contextmanager
def market(moto: MotoServer) -> Iterator[None]:
    """16 days of ticks in acme-market, four a quarter, the first of 400 days ago. Each is read ten times in the last
    five days of its quarter, and that is all."""
    now_us, first = SystemClock().now_us(), date(2025, 10, 6)
    today_us, body, lines = now_us - now_us % DAY, ticks(str(first)), list[str]()
    with _buckets(moto, ("acme-market", "acme-access-logs", "acme-tiers")):
        for nth in range(16):
            day = str(first + timedelta(days=23 * nth))
            content = body.replace(str(first).encode(), day.encode())
            _put(moto, "acme-market", {f"ticks/dt={day}/trades.csv": content}, today_us - (400 - 23 * nth) * DAY)
            over = 400 - 91 * (nth // 4 + 1)
            for days_ago, hour in product(range(over, over + 5), (12, 13)):
                when_us = today_us - days_ago * DAY + hour * 3_600 * SECOND
                lines.append(read("acme-market", f"ticks/dt={day}/trades.csv", len(content), when_us, len(lines)))
        _put(moto, "acme-access-logs", {"acme-market/2026-09-01-00-00-00-A": "".join(lines).encode()}, now_us)
        yield


def slices(study: str, patient: str, images: int) -> Iterator[bytes]:
    """A CT of a phantom: slices of 512 by 512 in 12 bits with noise, as uncompressed DICOM files."""
    noise = np.random.default_rng(len(study))
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    for number in range(images):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = UID(f"{study}.{number + 1}")
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = Dataset()
        image.file_meta = meta
        image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.PatientID, image.Modality, image.InstanceNumber = study, patient, "CT", number + 1
        image.Rows = image.Columns = 512
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        body = np.where(x**2 + (1.3 * y) ** 2 < 0.6 + number / 100, 1_040.0, 60.0) + noise.normal(0, 12, (512, 512))
        image.PixelData = body.astype("<u2").tobytes()
        stored = io.BytesIO()
        image.save_as(stored, enforce_file_format=True)
        yield stored.getvalue()


@contextmanager
def clinic(moto: MotoServer) -> Iterator[None]:
    """Four studies of six slices each, of 400 days ago, in acme-images; the last was read three days ago."""
    now_us, kept, lines = SystemClock().now_us(), dict[str, bytes](), list[str]()
    for nth in range(1, 5):
        study = f"1.2.826.0.1.{nth}"
        for number, content in enumerate(slices(study, f"P{nth:03}", 6), start=1):
            kept[f"ct/study={study}/{number:04}.dcm"] = content
            if nth == 4:
                name = f"ct/study={study}/{number:04}.dcm"
                lines.append(read("acme-images", name, len(content), now_us - 3 * DAY, number))
    with _buckets(moto, ("acme-images", "acme-access-logs", "acme-tiers")):
        _put(moto, "acme-images", kept, now_us - 400 * DAY)
        _put(moto, "acme-access-logs", {"acme-images/2026-09-01-00-00-00-A": "".join(lines).encode()}, now_us)
        yield
