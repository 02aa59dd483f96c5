"""The S3 server of the tests fails as told, says how often, and tells what it was asked."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ResponseStreamingError

from storaged.testing.servers import MotoServer, ServerFailed


def status_of(call: Any, **arguments: Any) -> int:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return int(caught.value.response["ResponseMetadata"]["HTTPStatusCode"])


@pytest.mark.parametrize(
    ("answer", "status"), [("InternalError", 500), ("SlowDown", 503), ("ExpiredToken", 400), ("AccessDenied", 403)]
)
def test_the_nth_request_that_matches_is_refused_and_nothing_happens(
    moto: MotoServer, bucket: str, s3_user: Any, answer: str, status: int
) -> None:
    fault = moto.faults.add(answer, operation="PutObject", key="/a[0-9]$", nth=2)
    other = moto.faults.add(answer, operation="DeleteObject")
    s3_user.put_object(Bucket=bucket, Key="a1", Body=b"1")
    s3_user.put_object(Bucket=bucket, Key="b", Body=b"b")
    assert moto.faults.fired(fault) == 0
    assert status_of(s3_user.put_object, Bucket=bucket, Key="a2", Body=b"2") == status
    s3_user.put_object(Bucket=bucket, Key="a3", Body=b"3")
    assert [o["Key"] for o in s3_user.list_objects_v2(Bucket=bucket)["Contents"]] == ["a1", "a3", "b"]
    assert (moto.faults.fired(fault), moto.faults.fired(other)) == (1, 0)
    with pytest.raises(AssertionError, match="DeleteObject"):
        moto.faults.assert_all_fired()
    moto.faults.clear()
    moto.faults.assert_all_fired()


def test_a_late_fault_took_effect_and_its_answer_was_lost(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    moto.faults.add("InternalError", operation="PutObject", late=True)
    moto.faults.add("Reset", operation="PutObject", late=True, nth=2)
    moto.faults.add("Reset", operation="PutObject", nth=3)
    assert status_of(s3_user.put_object, Bucket=bucket, Key="a", Body=b"a") == 500
    for key in ("b", "c"):
        with pytest.raises(BotoCoreError):
            s3_user.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert [o["Key"] for o in s3_user.list_objects_v2(Bucket=bucket)["Contents"]] == ["a", "b"]
    moto.faults.assert_all_fired()


def test_an_answer_can_be_cut_in_the_middle(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"x" * 1_000_000)
    moto.faults.add("Cut", operation="GetObject")
    body = s3_user.get_object(Bucket=bucket, Key="a")["Body"]
    with pytest.raises(ResponseStreamingError):
        body.read()
    assert len(s3_user.get_object(Bucket=bucket, Key="a")["Body"].read()) == 1_000_000


def test_an_answer_can_be_late(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    moto.faults.add("Stall", operation="HeadBucket", seconds=0.3)
    begun = time.monotonic()
    s3_user.head_bucket(Bucket=bucket)
    assert time.monotonic() - begun >= 0.3


def test_a_completion_can_fail_in_an_answer_of_200(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    begun = s3_user.create_multipart_upload(Bucket=bucket, Key="a")
    where = {"Bucket": bucket, "Key": "a", "UploadId": begun["UploadId"]}
    part = s3_user.upload_part(**where, PartNumber=1, Body=b"x")
    moto.faults.add("ErrorIn200", operation="CompleteMultipartUpload")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    with pytest.raises(ClientError, match="InternalError"):
        s3_user.complete_multipart_upload(**where, MultipartUpload=parts)
    assert moto.log()[-1].status == 200
    assert s3_user.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_fault_that_makes_no_sense_is_refused(moto: MotoServer) -> None:
    with pytest.raises(ServerFailed, match="no such answer: 'Tired'"):
        moto.faults.add("Tired")


def test_the_log_tells_which_conditions_were_sent(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    s3_user.put_object(Bucket=bucket, Key="a b", Body=b"12345", IfNoneMatch="*")
    s3_user.get_object(Bucket=bucket, Key="a b", Range="bytes=1-2")
    moto.faults.add("SlowDown", operation="HeadObject")
    status_of(s3_user.head_object, Bucket=bucket, Key="a b")
    put, get, head = moto.log()
    assert (put.operation, put.bucket, put.key, put.size, put.status) == ("PutObject", bucket, "a b", 5, 200)
    assert put.headers["if-none-match"] == "*"
    assert (get.operation, get.headers["range"], get.status) == ("GetObject", "bytes=1-2", 206)
    assert (head.status, head.fault) == (503, "SlowDown")
