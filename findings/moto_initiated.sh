#!/usr/bin/env bash
# moto 5.2.5 in-process: ListMultipartUploads tells `Initiated` 2010-11-10T20:48:33Z of every upload,
# whenever it was begun, and whatever clock is set. Expected: when it was created. So a clean-up of uploads that are
# older than some days, tried against moto, aborts those that are under way right now.
# Seen: "2010-11-10T20:48:33+00:00" of an upload that was begun a moment before. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check "moto[s3]==5.2.5" 2>/dev/null
AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=us-east-1 "$place/venv/bin/python" - <<'P'
import datetime

import boto3
import moto

with moto.mock_aws():
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    client.create_multipart_upload(Bucket="bucket", Key="k")
    [upload] = client.list_multipart_uploads(Bucket="bucket")["Uploads"]
told = upload["Initiated"]
age = datetime.datetime.now(datetime.UTC) - told
print(f"moto {moto.__version__}: begun now, told as {told.isoformat()}, {age.days} days ago")
raise SystemExit(told.isoformat() != "2010-11-10T20:48:33+00:00")
P
