#!/usr/bin/env bash
# zarr 2.18.3 with fsspec and s3fs 2024.10.0: an array of which one chunk's object is in the class GLACIER, not restored.
# Expected: an error, as boto3 (InvalidObjectState) and zarr 3 with the same file system (PermissionError) give.
# Seen: no error; that chunk reads as the fill value, whole arrays and slices within it alike: what cannot be read now is
# taken for what was never written. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check \
  zarr==2.18.3 numcodecs==0.13.1 fsspec==2024.10.0 s3fs==2024.10.0 numpy==2.2.6 "moto[s3,server]==5.1.9" 2>/dev/null
AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=us-east-1 environment/bin/python -W ignore - <<'P' 2>/dev/null
import boto3, numpy, s3fs, zarr
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
_, port = server.get_host_and_port()
url = f"http://127.0.0.1:{port}"
client = boto3.client("s3", endpoint_url=url)
client.create_bucket(Bucket="bucket")


def opened(mode):
    files = s3fs.S3FileSystem(endpoint_url=url, skip_instance_cache=True)
    store = zarr.storage.FSStore("bucket/a", fs=files, mode=mode)
    return zarr.open_array(store, mode=mode, shape=(40,), chunks=(10,), dtype="i4", fill_value=0)


opened("w")[:] = numpy.arange(1, 41)
chunk = {"Bucket": "bucket", "Key": "a/1"}
client.copy_object(**chunk, CopySource=chunk, StorageClass="GLACIER")
try:
    client.get_object(**chunk)
    said = "nothing"
except ClientError as error:
    said = error.response["Error"]["Code"]
whole, within = opened("r")[:], opened("r")[12:15]
print(f"zarr {zarr.__version__}: GET says {said}; elements 8 to 21 {whole[8:22].tolist()}, 12 to 14 {within.tolist()}")
wrong = not whole[10:20].any() and not within.any() and bool(whole[:10].all()) and bool(whole[20:].all())
server.stop()
raise SystemExit(not (said == "InvalidObjectState" and wrong))
P
