#!/usr/bin/env bash
# moto 5.2.5 in-process: a lifecycle rule that leads objects of more than a MiB to another class is taken, and told back
# without its size: ObjectSizeGreaterThan and ObjectSizeLessThan are forgotten, inside And and alone. Expected: what was
# put, or an error. So a rule that was read back, as a tool does that adds one to those that a bucket has, fits all objects.
# Seen: {"And": {"Prefix": "logs/"}} and a filter that is empty or of no size. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check "moto[s3]==5.2.5" 2>/dev/null
AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=us-east-1 "$place/venv/bin/python" - <<'P'
import boto3
import moto

SIZE = {"ObjectSizeGreaterThan": 1 << 20}
FILTERS = ({"And": {"Prefix": "logs/", **SIZE}}, SIZE, {"And": {"ObjectSizeLessThan": 1 << 30, **SIZE}})
with moto.mock_aws():
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    told = []
    for filter in FILTERS:
        rule = {"ID": "a", "Status": "Enabled", "Filter": filter}
        rule["Transitions"] = [{"Days": 45, "StorageClass": "GLACIER_IR"}]
        client.put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration={"Rules": [rule]})
        [found] = client.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"]
        told.append(found.get("Filter"))
print(f"moto {moto.__version__}: put {FILTERS}, told back {told}")
raise SystemExit(any("Size" in str(filter) for filter in told))
P
