"""No secret is said: not by us, not by the clients of stores and databases, not in a log, not in a traceback."""

from __future__ import annotations

import io
import json
import logging
import pickle
from collections.abc import Callable

import botocore.exceptions as boto
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged import errors
from storaged.catalog.engine import open_catalog
from storaged.cli.app import run
from storaged.daemon import logs
from storaged.errors import Problem, StoragedError
from storaged.masking import MASK, carries_secret, masked, remember
from storaged.stores.access import Access, Opening
from storaged.stores.s3.errors import store_error
from storaged.testing import FakeClock

SECRET = "hunter2hunter2"  # noqa: S105

SAID = [
    "cannot reach postgresql://ana:{}@db.example.org:5432/lake",
    "http://ana:{}@[::1]:9000/bucket?x=1",
    "https://ana:a/b{}@host/x",
    "https://{}@git.example.org/x",
    "s3://{}@bucket/key",
    'Could not connect to the endpoint URL: "https://b.example.org/k?X-Amz-Credential={}&x=1"',
    "GET /k?X-Amz-Signature={}&X-Amz-Expires=1 failed",
    "GET /k?versionId=1&x-amz-security-token={}",
    "https://a.blob.example.org/c?sv=2024&sig={}",
    "https://x/y?access_token={}#z",
    "https://x/y?AWSAccessKeyId=A&Signature={}",
    "connection to host=db user=ana password={} failed",
    "connection with password='{} with \\'blanks' failed",
    "PGPASSWORD={} pg_dump",
    "aws_secret_access_key = {}",
    "aws_session_token={}",
    '{{"password": "{}", "user": "ana"}}',
    "{{'SecretAccessKey': '{}'}}",
    "sslpassword={}",
    "client_secret={}&grant=x",
    "AccountKey={};EndpointSuffix=x",
    "<SecretAccessKey>{}</SecretAccessKey>",
    "<SignatureProvided>{}</SignatureProvided>",
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=host, Signature={}",
    "authorization: Bearer {}",
    "sent Bearer {} and was refused",
    "Basic {}== refused",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\n{}",
]


@pytest.mark.parametrize("said", SAID)
def test_a_secret_is_taken_out_and_nothing_is_left_of_it(said: str) -> None:
    text = said.format(SECRET)
    told = masked(text)
    assert SECRET not in told
    assert MASK in told
    assert masked(told) == told
    for error in (StoragedError(text), StoragedError("x", hint=text), Problem("f", 1, "", text)):
        assert SECRET not in f"{error} {error!r} {getattr(error, 'hint', '')} {error.message}"


@pytest.mark.parametrize(
    "known", ["secret", "password", "session", "access_key", "Signature", "Authorization", "Bearer"]
)
def test_a_known_secret_that_is_a_word_of_a_name_hides_no_name(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", known)
    for said in SAID:
        told = masked(said.format(SECRET))
        assert SECRET not in told
        assert known not in told
        assert masked(told) == told


PLAIN = [
    "'2026/01/a b.csv' is no key: a segment of it is empty, '.' or '..'",
    "the catalog postgresql://ana@db.example.org/lake cannot be reached",
    "http://127.0.0.1:9000/bucket?versioning",
    "s3://bucket/events/dt=2026-01-01/user@example.org.csv",
    "there is no 'token=5/part-0.parquet'",
    "fe_sendauth: no password supplied",
    'password authentication failed for user "ana"',
    "set STORAGED_CATALOG_PASSWORD, STORAGED_CATALOG_PASSWORD_FILE or the systemd credential storaged.catalog_password",
    "send the token of `daemon.token_file`: Authorization it is",
    "host:port, such as 127.0.0.1:9464 or [::]:9464; ana@example.org asked",
    "file:///srv/a:b@c/d",
    "the secret that $STORAGED_CATALOG_PASSWORD_FILE names is empty: /run/x",
]


@pytest.mark.parametrize("said", PLAIN)
def test_what_is_no_secret_is_said_as_it_is(said: str) -> None:
    assert masked(said) == said


@given(st.text())
def test_any_text_can_be_masked_and_twice_is_once(text: str) -> None:
    assert masked(masked(text)) == masked(text)


def test_what_we_know_is_hidden_wherever_it_turns_up(monkeypatch: pytest.MonkeyPatch) -> None:
    remember("s3cr/et 'x'")
    for said in ("the server said s3cr/et 'x' twice", "?x=s3cr%2Fet%20%27x%27", repr("s3cr/et 'x' \n")):
        assert "s3cr" not in masked(said)
    remember("a")
    assert masked("a banana") == "a banana"
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-session")
    assert masked("it is token-of-the-session.") == f"it is {MASK}."


def test_every_error_of_ours_hides_and_survives_a_process_border() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, StoragedError)]
    assert len(kinds) > 20
    for kind in kinds:
        if kind is errors.ConfigError:
            continue
        found = pickle.loads(pickle.dumps(kind(f"password={SECRET}")))  # noqa: S301
        assert (type(found), found.message, str(found)) == (kind, f"password={MASK}", f"password={MASK}")


# -- real clients ------------------------------------------------------------------------------------------------------


ASKED: dict[str, Callable[..., object]] = {
    "botocore": lambda store: store.clock_us(),
    "obstore": lambda store: store.read_note("claim.json"),
    "wire": lambda store: store.head("a"),
}


@pytest.mark.parametrize("client", ASKED)
def test_a_store_that_cannot_be_reached_tells_no_password_of_its_url(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storaged.stores.registry import open_store

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}-of-the-environment")
    access = Access(f"http://ana:{SECRET}@127.0.0.1:1", "us-east-1", path_style=True)
    with pytest.raises(StoragedError) as caught:
        ASKED[client](open_store("s3://bucket", Opening(access=access)))
    assert SECRET not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("more", ["", "?sslpassword=" + SECRET, "?sslmode=nonsense&sslpassword=" + SECRET])
def test_a_server_of_the_catalog_that_cannot_be_reached_tells_none_either(more: str) -> None:
    with pytest.raises(StoragedError) as caught:
        open_catalog(f"postgresql://ana:{SECRET}@127.0.0.1:1/lake{more}", wait_s=1)
    assert SECRET not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "error",
    [
        boto.EndpointConnectionError(endpoint_url=f"https://ana:{SECRET}@host"),
        boto.ClientError({"Error": {"Code": "X", "Message": f"?X-Amz-Signature={SECRET}"}}, "GetObject"),
        boto.ProxyConnectionError(proxy_url=f"http://ana:{SECRET}@proxy:3128"),
        boto.InvalidConfigError(error_msg=f"aws_secret_access_key={SECRET}"),
        boto.HTTPClientError(error=f"authorization: Bearer {SECRET}"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_client_of_s3_says_is_filtered(error: Exception) -> None:
    found = store_error(error, "k", "bucket")
    assert found is not None
    assert SECRET not in f"{found} {found.hint}"
    assert MASK in found.message


# -- the ways out ------------------------------------------------------------------------------------------------------


def test_a_fault_of_ours_tells_none_and_its_traceback_neither(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"postgresql://ana:{SECRET}@db/lake")

    monkeypatch.setattr("storaged.cli.context.opened", broken)
    for debug in ("", "1"):
        monkeypatch.setenv("STORAGED_DEBUG", debug)
        assert run(["status"]) == 70
        said = capsys.readouterr()
        assert MASK in said.err
        assert SECRET not in said.err + said.out
        assert ("Traceback" in said.err) == bool(debug)


@pytest.mark.parametrize("form", ["text", "journal", "json"])
def test_a_log_tells_none_whoever_writes_it(form: logs.Form) -> None:
    out = io.StringIO()
    log = logs.configure(form, out, "info", FakeClock(), {})
    before = logging.getLogger().handlers[:]
    try:
        log.info("said", url=f"https://ana:{SECRET}@host", words=f'{{"password": "{SECRET}"}}')
        logging.getLogger("botocore").warning("https://x/y?X-Amz-Signature=%s", SECRET)
        try:
            raise ValueError(f"password={SECRET}")
        except ValueError:
            log.exception("fault")
    finally:
        for handler in before:
            if isinstance(handler, logs._Handler):
                logging.getLogger().removeHandler(handler)
    assert SECRET not in out.getvalue()
    assert out.getvalue().count(MASK) >= 4
    if form == "json":
        told = [json.loads(line) for line in out.getvalue().splitlines()]
        assert told[0]["words"] == f'{{"password": "{MASK}"}}'


# -- the configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "carries"),
    [
        (f"s3://AKIA:{SECRET}@bucket", True),
        (f"s3://{SECRET}@bucket/x", True),
        (f"s3://AKIA%3A{SECRET}%40bucket", True),
        (f"ana:{SECRET}@host", True),
        (f"file://ana:{SECRET}@host/srv", True),
        (f"file:///srv?X-Amz-Signature={SECRET}", True),
        (f"https://host/b?x=1&sig={SECRET}", True),
        (f"https://host/b?X-AMZ-SECURITY-TOKEN={SECRET}", True),
        ("s3://bucket/a@b:c", False),
        ("file:///srv/a@b", False),
        ("file:///srv/ana:x@y", False),
        ("https://host:9000/path", False),
        ("/srv/logs/*.jsonl", False),
    ],
)
def test_a_url_with_a_secret_is_known_as_such(url: str, carries: bool) -> None:
    assert carries_secret(url) is carries
