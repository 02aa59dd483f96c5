#!/usr/bin/env bash
# Two keys of a bucket that a slash tells apart, "d" and "/d", "e" and "e/", as listed and read by obstore 0.12.1
# (Rust's object_store) and pyarrow 26.0.1's S3FileSystem, over moto 5.2.5. Expected: two names, or an error, as obstore
# gives for "a//c" (which ends a whole listing). Seen: one name, twice, with the two sizes: obstore of both pairs,
# pyarrow of "e/", of which its non-recursive listing makes a directory. What is read by the names listed is the content
# of the one without a slash, both times; alone, "e/" is listed as a file "e" that is not there, and pyarrow lists "/d"
# and does not open it. So a copy by a listing drops an object, and a count or a sum of sizes does not show it. s3fs
# 2026.9.0 finds all four by find, but its du leaves out the bytes of "e/", and find with a maxdepth does not give "/d".
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check \
  aiobotocore==3.10.0 boto3==1.43.117 "moto[server]==5.2.5" obstore==0.12.1 pyarrow==26.0.1 s3fs==2026.9.0 2>/dev/null
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
environment/bin/python -W ignore - <<'P'
import logging

import boto3
import obstore
import s3fs
from moto.server import ThreadedMotoServer
from pyarrow import fs

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
_, port = server.get_host_and_port()
url = f"http://127.0.0.1:{port}"
client = boto3.client("s3", endpoint_url=url)
pyarrow = fs.S3FileSystem(endpoint_override=f"127.0.0.1:{port}", scheme="http")
fsspec = s3fs.S3FileSystem(endpoint_url=url, use_listings_cache=False)


def content(read):
    try:
        return bytes(read()).decode()
    except FileNotFoundError:
        return "not found"
    except ValueError:
        return "no path"


def look(bucket, keys):
    client.create_bucket(Bucket=bucket)
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=f"this is {key}".encode())
    store = obstore.store.S3Store(bucket, endpoint=url, client_options={"allow_http": True})
    rows = [(row["path"], row["size"]) for rows in obstore.list(store) for row in rows]
    by_obstore = [(name, size, content(lambda name=name: obstore.get(store, name).bytes())) for name, size in rows]
    by_pyarrow = [
        (info.path.partition("/")[2], info.size, content(lambda path=info.path: pyarrow.open_input_stream(path).read()))
        for info in pyarrow.get_file_info(fs.FileSelector(bucket, recursive=True))
        if info.is_file
    ]
    depth = sorted(path.partition("/")[2] for path in fsspec.find(bucket, maxdepth=3))
    s3fs_told = (sorted(path.partition("/")[2] for path in fsspec.find(bucket)), depth, fsspec.du(bucket))
    print(f"{keys}: obstore {by_obstore}; pyarrow {by_pyarrow}; s3fs find, find to a depth, du: {s3fs_told}")
    return sorted(by_obstore), sorted(by_pyarrow), s3fs_told


found = look("leading", ["d", "/d"]), look("trailing", ["e", "e/"]), look("alone", ["e/"])
server.stop()
d = "this is d"
e = "this is e"
seen = (
    ([("d", 9, d), ("d", 10, d)], [("/d", 10, "no path"), ("d", 9, d)], (["/d", "d"], ["", "d"], 19)),
    ([("e", 9, e), ("e", 10, e)], [("e", 9, e), ("e", 10, e)], (["e", "e/"], ["e", "e/"], 9)),
    ([("e", 10, "not found")], [("e", 10, "not found")], (["e/"], ["e/"], 0)),
)
raise SystemExit(found != seen)
P
