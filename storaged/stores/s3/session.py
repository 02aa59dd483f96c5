"""One bucket, and the clients that work on it: botocore for what is asked seldom, obstore to read."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import functools
import os
import re
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import obstore.store
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import NoCredentialsError, ProfileNotFound
from botocore.hooks import HierarchicalEmitter
from botocore.loaders import Loader, create_loader
from botocore.session import Session

from storaged.clock import SECOND, SystemClock, to_datetime
from storaged.errors import UsageError
from storaged.stores.access import Access
from storaged.stores.s3.errors import translated
from storaged.stores.s3.wire import Wire
from storaged.version import __version__

AGENT: Final = f"storaged/{__version__}"  # how every request of ours begins; access logs leave out what begins so
SCHEME: Final = "s3://"

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
# Control characters, which obstore refuses, and segments that it resolves or leaves out: empty, "." and "..".
_ODD: Final = re.compile(r"[\x00-\x1f\x7f]|(?:^|/)\.{0,2}(?:/|$)")
_CONNECTIONS: Final = 64
_CREDENTIALS_LAST: Final = dt.timedelta(minutes=10)  # at least, as botocore renews what ends sooner; obstore asks again
_ASK_AGAIN_US: Final = 5 * 60 * SECOND


_LOADED_BY: Final = os.getpid()


def bulk_works() -> bool:
    """Whether obstore answers in this process. It works by threads of its own, and in a forked child of a process that
    used it, for us or for others, they are not there: it would wait for ever."""
    return os.getpid() == _LOADED_BY


class S3Session:
    """A bucket and a prefix in it. Thread-safe; connects when first used. Raises UsageError for what is no such URL.

    `read_timeout_s`: how long, in seconds, a connection may be silent. Requests are tried again by the clients only
    a little: what lasts is for storaged.stores.wrappers.Retrying.
    """

    def __init__(self, url: str, access: Access | None = None, *, read_timeout_s: float = 60.0) -> None:
        bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
        if not url.startswith(SCHEME) or not _BUCKET.fullmatch(bucket):
            raise UsageError(f"{url!r} is no place in a bucket", hint="write s3://bucket or s3://bucket/folder")
        self.url = url
        self.bucket = bucket
        self.prefix = prefix if prefix.endswith("/") or not prefix else prefix + "/"
        self.access = access or Access()
        self.agent = AGENT
        self.partial = True  # whether obstore takes the server's answers to ranges; it learns
        self._signer: tuple[ReadOnlyCredentials, int | None] | None = None  # and when to ask again, microseconds
        self._read_timeout_s = read_timeout_s
        self._library = _Library(self.access, read_timeout_s)

    def key(self, name: str) -> str:
        """The full key of a name under our prefix."""
        return self.prefix + name

    def name(self, key: str) -> str:
        """The name under our prefix of a full key."""
        return key.removeprefix(self.prefix)

    def plain(self, key: str) -> bool:
        """Whether obstore takes a full key for what it is, and works here."""
        return _ODD.search(key) is None and bulk_works()

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        """One request, such as call("head_object", Key=...); a body comes as bytes under "Body". Raises StoreError.

        `Bucket` is ours unless it is given. A parameter that the installed client does not know raises, so that no
        condition is ever dropped. A condition that fails is AlreadyExists with IfNoneMatch, else SourceChanged.
        """
        with translated(self.name(str(params.get("Key", ""))), self.bucket, creating="IfNoneMatch" in params):
            answer: dict[str, Any] = getattr(self._library.client, operation)(**{"Bucket": self.bucket, **params})
            if "Body" in answer:
                with contextlib.closing(answer["Body"]) as stream:
                    answer["Body"] = stream.read()
            return answer

    @cached_property
    def base(self) -> str:
        """The bucket's own URL, as the session's endpoint rules make it; no slash at the end."""
        with translated("", self.bucket):
            url = self._library.client.generate_presigned_url("head_bucket", Params={"Bucket": self.bucket})
        parsed = urlsplit(url)
        return f"{parsed.scheme}://{parsed.netloc}{parsed.path.rstrip('/')}"

    @cached_property
    def server(self) -> str:
        """Which server the bucket is on, and in which region of it: the same text for what one server may have."""
        place = urlsplit(self.base)
        host, path = place.netloc.removeprefix(f"{self.bucket}."), place.path.removesuffix(f"/{self.bucket}")
        return f"{place.scheme}://{host}{path} {self.region}"

    @cached_property
    def region(self) -> str:
        """The region that requests are signed for."""
        with translated("", self.bucket):
            return str(self._library.client.meta.region_name)

    def signs_with(self) -> ReadOnlyCredentials:
        """What requests are signed with now; what ends is renewed. Raises PermissionDenied where there is nothing."""
        held = self._signer
        if held is None or (held[1] is not None and held[1] < SystemClock().now_us()):
            with translated("", self.bucket):
                found, ends = self._library.credentials()
            held = self._signer = found, SystemClock().now_us() + _ASK_AGAIN_US if ends else None
        return held[0]

    def library_options(self) -> dict[str, str]:
        """The same place and credentials, as other libraries on Rust's `object_store` call them. Raises
        PermissionDenied."""
        by = self.signs_with()
        options = {
            "aws_access_key_id": by.access_key,
            "aws_secret_access_key": by.secret_key,
            "aws_session_token": by.token or "",
            "aws_region": self.region,
            "aws_endpoint_url": self.base,
            "aws_virtual_hosted_style_request": "true",  # the endpoint names the bucket already
            "allow_http": "true",
        }
        return {name: value for name, value in options.items() if value}

    @cached_property
    def authorities(self) -> str | None:
        """The file of certificates that the machine's configuration trusts instead of the usual ones."""
        with translated("", self.bucket):
            found = self._library.session.get_config_variable("ca_bundle")
        return str(found) if found else None

    @cached_property
    def wire(self) -> Wire:
        """Heads and parts, with the session's credentials and place."""
        return Wire(self, connections=_CONNECTIONS, timeout_s=self._read_timeout_s)

    @cached_property
    def objects(self) -> obstore.store.S3Store:
        """obstore on the same bucket (not the prefix), with the session's credentials and place."""
        return self.bulk()

    def bulk(self, *, tries: int = 3) -> obstore.store.S3Store:
        """As `objects`."""
        config: obstore.store.S3Config = {
            "endpoint": self.base,
            "virtual_hosted_style_request": True,  # the endpoint names the bucket already
            "region": self.region,
            "unsigned_payload": True,  # see storaged.stores.s3.wire
        }
        options: obstore.store.ClientConfig = {
            "allow_http": True,
            "user_agent": AGENT,
            "connect_timeout": dt.timedelta(seconds=10),
            "read_timeout": dt.timedelta(seconds=self._read_timeout_s),
            "timeout": dt.timedelta(hours=1),  # of a whole request; the one above is what ends a dead one
        }
        if self.authorities:
            options["root_certificate"] = Path(self.authorities).read_bytes()
        with translated("", self.bucket):
            return obstore.store.S3Store(
                self.bucket,
                config=config,
                client_options=options,
                retry_config={"max_retries": tries - 1, "retry_timeout": dt.timedelta(seconds=60)},
                credential_provider=_provider(self._library, self.bucket),
            )


class _Library:
    """botocore's session, and its client, which is made when first used. Thread-safe."""

    def __init__(self, access: Access, read_timeout_s: float) -> None:
        self.session = _session(access.profile)
        self._access = access
        self._read_timeout_s = read_timeout_s
        self._lock = threading.Lock()
        self._client: Any = None

    @property
    def client(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self.session.create_client(
                    "s3",
                    endpoint_url=self._access.endpoint,
                    region_name=self._access.region,
                    config=Config(
                        user_agent=AGENT,
                        retries={"mode": "standard", "total_max_attempts": 3},
                        connect_timeout=10,
                        read_timeout=self._read_timeout_s,
                        max_pool_connections=_CONNECTIONS,
                        # what is to be checked is asked for by name; nothing is added behind our back
                        request_checksum_calculation="when_required",
                        response_checksum_validation="when_required",
                        s3={"addressing_style": "path" if self._access.path_style else "auto"},
                    ),
                )
            return self._client

    def credentials(self) -> tuple[ReadOnlyCredentials, bool]:
        """What the session holds now, and whether it ends."""
        with self._lock:  # they are looked for once
            held = self.session.get_credentials()
        if held is None:
            raise NoCredentialsError
        return held.get_frozen_credentials(), isinstance(held, RefreshableCredentials)


def _session(profile: str | None) -> Session:
    session = Session(event_hooks=copy.copy(_hooks()), include_builtin_handlers=False, profile=profile)
    try:
        data_path = session.get_config_variable("data_path")
    except ProfileNotFound:  # said when it connects
        data_path = None
    session.register_component("data_loader", _loader(data_path))
    return session


@functools.cache
def _hooks() -> HierarchicalEmitter:
    """botocore's own handlers of events, to be copied: to register each of them anew is nine tenths of what a session
    costs."""
    hooks = HierarchicalEmitter()
    Session(event_hooks=hooks)
    return hooks


@functools.cache
def _loader(data_path: str | None) -> Loader:
    """One for all sessions: each would else read and keep botocore's model of S3 anew, a third of a second of work."""
    return create_loader(data_path)


def _provider(library: _Library, bucket: str) -> Callable[[], obstore.store.S3Credential]:
    """Where obstore takes its credentials from. Not a method: obstore would keep the whole session alive for ever, as
    no collector sees the circle."""

    def credentials() -> obstore.store.S3Credential:
        with translated("", bucket):
            found, ends = library.credentials()
        return {
            "access_key_id": found.access_key,
            "secret_access_key": found.secret_key,
            "token": found.token,
            "expires_at": to_datetime(SystemClock().now_us()) + _CREDENTIALS_LAST if ends else None,
        }

    return credentials
