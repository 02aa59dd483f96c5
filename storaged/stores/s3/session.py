"""One bucket, and the two clients that work on it: s3fs's session for what must be exact, obstore for bulk."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import functools
import os
import re
from collections.abc import Callable, Coroutine
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import obstore.store
import s3fs
from aiobotocore.hooks import AioHierarchicalEmitter
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import NoCredentialsError, ProfileNotFound
from botocore.loaders import Loader, create_loader

from storaged.clock import SECOND, SystemClock, to_datetime
from storaged.errors import UsageError
from storaged.stores.access import Access
from storaged.stores.s3.errors import translated
from storaged.stores.s3.unparsed import on_client
from storaged.stores.s3.wire import Wire
from storaged.version import __version__

T = TypeVar("T")

AGENT: Final = f"storaged/{__version__}"  # how every request of ours begins; access logs leave out what begins so
SCHEME: Final = "s3://"

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
# Control characters, which obstore refuses, and segments that it resolves or leaves out: empty, "." and "..".
_ODD: Final = re.compile(r"[\x00-\x1f\x7f]|(?:^|/)\.{0,2}(?:/|$)")
_CONNECTIONS: Final = 64
_CREDENTIALS_LAST: Final = dt.timedelta(minutes=10)  # at least, as botocore renews what ends sooner; obstore asks again
_ASK_AGAIN_US: Final = 5 * 60 * SECOND


_bulk_pid = 0  # of the process that used obstore first


def bulk_works() -> bool:
    """Whether obstore answers in this process. It works by threads of its own, and in a forked child of a process that
    used it they are not there: it would wait for ever."""
    global _bulk_pid
    _bulk_pid = _bulk_pid or os.getpid()
    return _bulk_pid == os.getpid()


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
        self._files = s3fs.S3FileSystem(
            endpoint_url=self.access.endpoint,
            session=_session(self.access.profile),
            client_kwargs={"region_name": self.access.region} if self.access.region else {},
            config_kwargs={
                "user_agent": AGENT,
                "retries": {"mode": "standard", "total_max_attempts": 3},
                "connect_timeout": 10,
                "read_timeout": read_timeout_s,
                "max_pool_connections": _CONNECTIONS,
                # what is to be checked is asked for by name; nothing is added behind our back
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "s3": {"addressing_style": "path" if self.access.path_style else "auto"},
            },
            skip_instance_cache=True,  # its cache is one per thread, and closes nothing
        )

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
            return self._wait(self._call(operation, {"Bucket": self.bucket, **params}))

    async def _call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        # not s3fs's own call_s3: it drops parameters that it does not know, and makes OSErrors of what S3 answers
        client = await self._files.set_session()
        on_client(client)
        answer: dict[str, Any] = await getattr(client, operation)(**params)
        body = answer.get("Body")
        if body is not None:
            async with body as stream:
                answer["Body"] = await stream.read()
        return answer

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._files.loop).result()

    @cached_property
    def base(self) -> str:
        """The bucket's own URL, as the session's endpoint rules make it; no slash at the end."""
        with translated("", self.bucket):
            return self._wait(self._base())

    async def _base(self) -> str:
        client = await self._files.set_session()
        parsed = urlsplit(await client.generate_presigned_url("head_bucket", Params={"Bucket": self.bucket}))
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
            return str(self._wait(self._files.set_session()).meta.region_name)

    def signs_with(self) -> ReadOnlyCredentials:
        """What requests are signed with now; what ends is renewed. Raises PermissionDenied where there is nothing."""
        held = self._signer
        if held is None or (held[1] is not None and held[1] < SystemClock().now_us()):
            with translated("", self.bucket):
                found, ends = self._wait(_credentials(self._files))
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
            self._wait(self._files.set_session())
        found = self._files.session.get_config_variable("ca_bundle")
        return str(found) if found else None

    @cached_property
    def wire(self) -> Wire:
        """Heads and parts, with the session's credentials and place."""
        return Wire(self, connections=_CONNECTIONS, timeout_s=self._read_timeout_s)

    @cached_property
    def objects(self) -> obstore.store.S3Store:
        """obstore on the same bucket (not the prefix), with the session's credentials and place."""
        return self.bulk()

    def bulk(self, *, checksum: str | None = None, tries: int = 3) -> obstore.store.S3Store:
        """As `objects`. `checksum`: of what is put, CRC64NVME or SHA256."""
        config: obstore.store.S3Config = {
            "endpoint": self.base,
            "virtual_hosted_style_request": True,  # the endpoint names the bucket already
            "region": self.region,
            "unsigned_payload": True,  # see storaged.stores.s3.wire
        }
        if checksum is not None:
            config["checksum_algorithm"] = checksum
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
                credential_provider=_provider(self._files, self.bucket),
            )


def _session(profile: str | None) -> AioSession:
    session = AioSession(event_hooks=copy.copy(_hooks()), include_builtin_handlers=False, profile=profile)
    try:
        data_path = session.get_config_variable("data_path")
    except ProfileNotFound:  # said when it connects
        data_path = None
    session.register_component("data_loader", _loader(data_path))
    return session


@functools.cache
def _hooks() -> AioHierarchicalEmitter:
    """botocore's own handlers of events, to be copied: to register each of them anew is nine tenths of what a session
    costs."""
    hooks = AioHierarchicalEmitter()
    AioSession(event_hooks=hooks)
    return hooks


@functools.cache
def _loader(data_path: str | None) -> Loader:
    """One for all sessions: each would else read and keep botocore's model of S3 anew, a third of a second of work."""
    return create_loader(data_path)


def _provider(files: s3fs.S3FileSystem, bucket: str) -> Callable[[], obstore.store.S3Credential]:
    """Where obstore takes its credentials from. Not a method: obstore would keep the whole session alive for ever, as
    no collector sees the circle."""

    def credentials() -> obstore.store.S3Credential:
        with translated("", bucket):
            found, ends = asyncio.run_coroutine_threadsafe(_credentials(files), files.loop).result()
        return {
            "access_key_id": found.access_key,
            "secret_access_key": found.secret_key,
            "token": found.token,
            "expires_at": to_datetime(SystemClock().now_us()) + _CREDENTIALS_LAST if ends else None,
        }

    return credentials


async def _credentials(files: s3fs.S3FileSystem) -> tuple[ReadOnlyCredentials, bool]:
    """What the session holds now, and whether it ends."""
    await files.set_session()
    held = await files.session.get_credentials()
    if held is None:
        raise NoCredentialsError
    return await held.get_frozen_credentials(), isinstance(held, RefreshableCredentials)
