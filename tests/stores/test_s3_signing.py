"""What our requests are signed with is what botocore would sign them with."""

from __future__ import annotations

import datetime as dt
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import example, given
from hypothesis import strategies as st

from storaged.clock import from_datetime
from storaged.stores.s3.signing import signed

REGION = "eu-west-1"
PLACES = ("http://127.0.0.1:9000/lake", "https://lake.s3.eu-west-1.amazonaws.com")
QUERIES = ("", "?acl=", "?versionId=%2Fa%20b~.-_", "?partNumber=1&uploadId=z%3D")
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Range": "bytes=0-3", "x-amz-meta-storaged-origin": '{"a":  "b"}'},
    {"If-None-Match": "*", "x-amz-copy-source": "lake/a%20b", "x-amz-copy-source-if-match": '"e"'},
)


class Unsigned(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    def payload(self, request: object) -> str:
        return "UNSIGNED-PAYLOAD"


@given(
    st.sampled_from(PLACES),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.sampled_from(QUERIES),
    st.sampled_from(HEADERS),
    st.sampled_from([None, "to/ken=="]),
)
@example(PLACES[0], "a/../b/./c//d ü+%20~*", QUERIES[2], HEADERS[2], None)
def test_it_signs_as_botocore_does(
    place: str, key: str, query: str, headers: dict[str, str], token: str | None
) -> None:
    by = ReadOnlyCredentials("AKID", "sec/ret", token)
    target = "/" + quote(key, safe="/~") + query
    theirs = AWSRequest("GET", place + target, headers=headers)
    Unsigned(by, "s3", REGION).add_auth(theirs)
    at = dt.datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    host, path = urlsplit(place).netloc, urlsplit(place).path
    ours = signed("GET", host, path + target, headers, by=by, region=REGION, now_us=from_datetime(at))
    assert {name.lower(): told for name, told in ours.items()} == {
        "host": host,
        **{name.lower(): told for name, told in theirs.headers.items()},
    }
