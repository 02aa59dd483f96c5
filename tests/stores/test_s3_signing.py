"""Signatures of requests to S3 are those of botocore's own signer."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from storaged.clock import SECOND, to_datetime
from storaged.stores.s3.signing import BODY, signed

HOST = "lake.s3.eu-west-1.amazonaws.com"
YEAR_2100_US = 4_102_444_800 * SECOND


class Unsigned(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Of requests whose body is left out, as botocore does where a checksum is told beside it over TLS."""

    def payload(self, request: object) -> str:
        return BODY


written = st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=30)
names = st.from_regex(r"x-amz-[a-z][a-z0-9-]{0,20}", fullmatch=True).filter(
    lambda name: name not in ("x-amz-date", "x-amz-content-sha256", "x-amz-security-token")
)


@given(
    method=st.sampled_from(["HEAD", "GET", "PUT"]),
    key=st.text(min_size=1, max_size=40),
    query=st.dictionaries(st.from_regex(r"[A-Za-z-]{1,12}", fullmatch=True), st.text(max_size=20), max_size=3),
    headers=st.dictionaries(st.one_of(names, st.sampled_from(["Range", "If-Match"])), written, max_size=5),
    token=st.one_of(st.none(), st.text("AZaz09/+=", min_size=1, max_size=40)),
    secret=st.text("AZaz09/+=", min_size=1, max_size=40),
    now_us=st.integers(0, YEAR_2100_US),
)
def test_a_signature_is_that_of_botocore(
    method: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    token: str | None,
    secret: str,
    now_us: int,
) -> None:
    credentials = ReadOnlyCredentials("AKIDEXAMPLE", secret, token)
    path = "/" + quote(key.encode("utf-8", "replace").decode(), safe="/~")
    asked = "&".join(f"{name}={quote(value.encode('utf-8', 'replace'), safe='~')}" for name, value in query.items())
    request = AWSRequest(method, f"https://{HOST}{path}" + (f"?{asked}" if asked else ""), headers=headers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: to_datetime(now_us))
        Unsigned(credentials, "s3", "eu-west-1").add_auth(request)
    told = signed(method, path, asked, headers, host=HOST, region="eu-west-1", credentials=credentials, now_us=now_us)
    assert {n.lower(): v for n, v in told.items()} == {n.lower(): v for n, v in request.headers.items()} | {
        "host": HOST
    }
