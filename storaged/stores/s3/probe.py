"""What a store can do, found out by trying: on notes of our own, which are removed again.

A server that ignores a condition answers as if there were none, and one that only echoes a checksum tells nothing about
its bytes. So each is tried with something wrong, and only a refusal counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from storaged.clock import new_id
from storaged.errors import AlreadyExists, ObjectNotFound, PermissionDenied, SourceChanged, StoreError, StoreUnavailable
from storaged.stores.base import RESERVED, Versioning
from storaged.stores.s3.checksums import Algorithm, sum_of, told
from storaged.stores.s3.errors import code_of
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.versions import delete

FOLDER = "probe"

_DATA = b"storaged tries what this store can do, and removes this again\n"
_OTHER = b"something else\n"
_WRONG = '"00000000000000000000000000000000"'
_BAD_SUM = frozenset({"BadDigest", "XAmzContentChecksumMismatch", "InvalidRequest", "InvalidDigest"})


@dataclass(frozen=True, slots=True)
class Abilities:
    """`writable`: objects can be made. `copies`: a CopyObject keeps conditions on its source and on its target."""

    writable: bool
    conditional: bool = False
    algorithm: Algorithm | None = None
    copies: bool = False


def probe(session: S3Session, keeps: Versioning) -> Abilities:
    """Try it. Raises StoreError, PermissionDenied where a trial may begin but not end."""
    name = f"{RESERVED}/{FOLDER}/{new_id()}"
    made: list[str] = []

    def put(which: str, data: bytes, **more: Any) -> None:
        made.append(which)
        session.call("put_object", Key=session.key(which), Body=data, **more)

    try:
        try:
            put(name, _DATA)
        except PermissionDenied:
            return Abilities(writable=False)
        return Abilities(
            True,
            conditional=_conditional(session, name, put),
            algorithm=next((a for a in Algorithm if _computes(session, a, f"{name}.{a}", put)), None),
            copies=_copies(session, name, f"{name}.copy", made),
        )
    finally:
        for which in made:
            _remove(session, which, keeps)


def _refused(call: Callable[[], object], *errors: type[StoreError]) -> bool:
    try:
        call()
    except errors:
        return True
    except StoreUnavailable:
        raise
    except StoreError:  # not of what was wrong with it: what the server does not know is no refusal
        return False
    return False


def _conditional(session: S3Session, name: str, put: Callable[..., None]) -> bool:
    """Whether a create-only PUT and a DELETE with another ETag are refused."""
    if not _refused(lambda: put(name, _DATA, IfNoneMatch="*"), AlreadyExists):
        return False
    key = session.key(name)
    if not _refused(lambda: session.call("delete_object", Key=key, IfMatch=_WRONG), SourceChanged):
        put(name, _DATA)
        return False
    return True


def _computes(session: S3Session, algorithm: Algorithm, name: str, put: Callable[..., None]) -> bool:
    """Whether a wrong checksum is refused and a right one told."""
    try:
        put(name, _DATA, **{algorithm.parameter: sum_of(algorithm, _OTHER)})
    except StoreError as error:
        if code_of(error) not in _BAD_SUM:
            if isinstance(error, StoreUnavailable):
                raise
            return False
    else:
        return False
    right = sum_of(algorithm, _DATA)
    try:
        put(name, _DATA, **{algorithm.parameter: right})
        return told(session.wire.head(session.key(name)).headers, algorithm) == right
    except StoreUnavailable:
        raise
    except StoreError:
        return False


def _copies(session: S3Session, name: str, other: str, made: list[str]) -> bool:
    """Whether a copy is refused whose source, or whose target, has another ETag."""
    source = {"Bucket": session.bucket, "Key": session.key(name)}

    def copy(target: str, **condition: str) -> None:
        session.call("copy_object", Key=session.key(target), CopySource=source, **condition)

    made.append(other)
    if not _refused(lambda: copy(other, CopySourceIfMatch=_WRONG), SourceChanged):
        return False
    copy(other)
    return _refused(lambda: copy(other, IfMatch=_WRONG), SourceChanged)


def _remove(session: S3Session, name: str, keeps: Versioning) -> None:
    """All of it. What cannot be removed stays: it is a few bytes, and the store cannot be used if it matters."""
    with contextlib.suppress(ObjectNotFound, PermissionDenied):
        identity = session.wire.head(session.key(name)).stat(name).identity
        delete(session, name, identity=identity, keeps=keeps, versions=True)
