#!/usr/bin/env bash
# rasterio 1.4.4 (GDAL 3.10.3): tiled GeoTIFFs of 32-bit floats, written and read back, of which one tile is -0.0
# throughout, or all but one number of it. Expected: the very bits, the more so without any compression; and of
# COMPRESS=LERC with MAX_Z_ERROR=0, its default, which GDAL calls lossless. Seen: without compression the tile that is
# -0.0 throughout is read as 0.0: it is taken for an empty one, since -0.0 == 0, and zeros are written in its stead;
# with ZSTD, or with any nodata but 0, it is kept. LERC is the other way round: it keeps the whole tile, and of the
# other makes each -0.0 a 0.0 but those next to the one that differs. A NaN with something in its low bits, as R's NA
# has, is a plain NaN after LERC, and without compression where it fills a tile and nodata is NaN. As numbers all are
# equal, so that np.array_equal(equal_nan=True) passes where a digest fails. Whoever compresses a GeoTIFF, or cuts it
# into other tiles, changes bits.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 rasterio==1.4.4 2>/dev/null
environment/bin/python -W ignore - <<'P'
import numpy as np
import rasterio

print("GDAL", rasterio.__gdal_version__)
NAN = float("nan")
WAYS = {
    "plain": {},
    "plain, nodata -1": {"nodata": -1},
    "plain, nodata NaN": {"nodata": NAN},
    "ZSTD": {"compress": "ZSTD"},
    "LERC": {"compress": "LERC", "MAX_Z_ERROR": 0},
}
random = np.random.default_rng(1).normal(size=(512, 512)).astype("f4")
zeros, nearly, missing = random.copy(), random.copy(), random.copy()
zeros[:256, :256] = nearly[:256, :256] = -0.0
nearly[5, 5] = 1
missing.view("u4")[:256, :256] = 0x7FC007A2
found = {}
for name, field in {"a tile of -0.0": zeros, "all but one of it": nearly, "a tile of R's NA": missing}.items():
    for way, options in WAYS.items():
        shape = {"width": 512, "height": 512, "count": 1, "dtype": "float32"}
        shape |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
        with rasterio.open("a.tif", "w", driver="GTiff", **shape, **options) as file:
            file.write(field, 1)
        with rasterio.open("a.tif") as file:
            back = file.read(1)
        assert np.array_equal(back, field, equal_nan=True)
        changed = int((back.view("u4") != field.view("u4")).sum())
        print(f"{name}, {way}: {changed} numbers have other bits")
        if changed:
            found[name, way] = changed
tile = 256 * 256
seen = {
    ("a tile of -0.0", "plain"): tile,
    ("all but one of it", "LERC"): tile - 256,
    ("a tile of R's NA", "plain, nodata NaN"): tile,
    ("a tile of R's NA", "LERC"): tile,
}
raise SystemExit(found != seen)
P
