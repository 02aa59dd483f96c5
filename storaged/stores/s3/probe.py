"""What a store can do, found out by trying: on notes of our own, which are removed again.

A server that ignores a condition answers as if there were none, and one that only echoes a checksum tells nothing about
its bytes. So each is tried with something wrong, and only a refusal counts. Each is tried by itself, in the bucket as
it is: there are servers that keep a condition on PUT and not on CompleteMultipartUpload, or not where versions are
kept. And a right condition must be granted: there are servers that refuse the very ETag that they told, in quotes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeVar

from storaged.clock import new_id
from storaged.errors import (
    AlreadyExists,
    ObjectCold,
    ObjectNotFound,
    PermissionDenied,
    SourceChanged,
    StoreError,
    StoreUnavailable,
)
from storaged.stores.base import LACKS, RESERVED
from storaged.stores.copies import CopySource
from storaged.stores.locks import Versioning
from storaged.stores.s3.checksums import OURS, Algorithm, sum_of, told
from storaged.stores.s3.copying import Copies, copied
from storaged.stores.s3.errors import code_of
from storaged.stores.s3.identity import BARE, NULL, QUOTED
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.underway import abort_older
from storaged.stores.s3.versions import default_retention
from storaged.stores.s3.wire import META, ORIGIN

FOLDER: Final = "probe"
LEFT_BY_THE_DEAD: Final = timedelta(hours=1)  # a trial of a process that lives takes seconds

_DATA = b"storaged tries what this store can do, and removes this again\n"
_OTHER = b"something else\n"
_WRONG = "00000000000000000000000000000000"
_RIGHT = "storaged"
_BAD_SUM = frozenset({"BadDigest", "XAmzContentChecksumMismatch", "InvalidRequest", "InvalidDigest"})
_FORMS: Final = (QUOTED, BARE)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Abilities:
    """`writable`: objects can be made. The others as in Traits; of conditions on an ETag the form that it must have for
    the store to refuse a wrong and to grant a right one, empty where it does not. `denied`: traits of LACKS that
    are not known, as we may not try them."""

    writable: bool
    create_put: bool = False
    create_parts: bool = False
    deletes: str = ""
    delete_version: bool = False
    copies_from: str = ""
    copies_onto: str = ""
    algorithm: Algorithm | None = None
    denied: frozenset[str] = frozenset()
    kept: str = ""  # for how long a bucket locks whatever is put into it: nothing is tried there, it could not go again


def probe(session: S3Session, keeps: Versioning, *, locks: bool = False) -> Abilities:
    """Try it. Raises StoreError, PermissionDenied where a trial may begin but not end."""
    if locks and (kept := default_retention(session)):
        return Abilities(writable=False, denied=frozenset(LACKS), kept=kept)
    trial = _Trial(session, f"{RESERVED}/{FOLDER}/{new_id()}", [])
    try:
        try:
            trial.put("")
        except PermissionDenied:
            return Abilities(writable=False, denied=frozenset(LACKS))
        denied: set[str] = set()

        def tried(trait: str, attempt: Callable[[], T], without: T) -> T:
            try:
                return attempt()
            except PermissionDenied:
                denied.add(trait)
                return without

        versions = keeps is Versioning.ENABLED
        able = Abilities(
            True,
            create_put=tried("create_put", lambda: _refused(trial.put_anew, AlreadyExists), False),
            create_parts=tried("create_parts", lambda: _creates_parts(trial), False),
            deletes=tried("delete_condition", lambda: _deletes(trial), ""),
            delete_version=versions and tried("delete_version", lambda: _deletes_versions(trial), False),
            copies_from=tried("copy_source", lambda: _copies_from(trial), ""),
            copies_onto=tried("copy_target", lambda: _copies_onto(trial), ""),
            algorithm=next((a for a in OURS if _computes(trial, a)), None),
        )
        return replace(able, denied=frozenset(denied))
    finally:
        for which in set(trial.made):
            _remove(session, session.key(which), keeps)


def reads_at_once(session: S3Session, keeps: Versioning, storage_class: str) -> bool:
    """Whether what is put into this storage class can be read at once: a class that is called GLACIER is an archive on
    Amazon S3 and a plain pool on others. Where a listing tells another one (a HEAD may only echo what was asked for),
    nothing is known of the class, and it counts as what it is called. Raises StoreError."""
    trial = _Trial(session, f"{RESERVED}/{FOLDER}/{new_id()}", [])
    try:
        trial.put("", StorageClass=storage_class)
        session.wire.get(trial.key(""))
        listed = session.call("list_objects_v2", Prefix=trial.key("")).get("Contents", [])
    except ObjectCold:
        return False
    finally:
        for which in set(trial.made):
            _remove(session, session.key(which), keeps)
    return any(told_of.get("StorageClass") == storage_class for told_of in listed)


def copies(session: S3Session, keeps: Versioning, able: Abilities, source: CopySource) -> Copies | None:
    """How the server copies from the source's bucket into this one. None: it does not, or not so that it is proven.

    The condition is tried with the very thing that is to be copied, as who we are here may not be let in there. And a
    copy must have what we say beside it, not what its source has, and a checksum that the server computed of its bytes:
    one by another algorithm than the source's. Raises StoreError.
    """
    if able.algorithm is None or not able.copies_from:
        return None
    trial = _Trial(session, f"{RESERVED}/{FOLDER}/{new_id()}", [])
    try:
        other = replace(source, etag=_WRONG)
        asked = trial.making(".other")
        try:
            _copied(session, asked, other, able)
            return None
        except SourceChanged:
            pass
        except (StoreUnavailable, ObjectNotFound, ObjectCold):  # of this one, and not of its bucket
            raise
        except StoreError:
            return None
        told_of = {able.algorithm.parameter: sum_of(able.algorithm, _DATA), "Metadata": {META: _WRONG}}
        etag = trial.put(".from", _DATA, **told_of)["ETag"].strip('"')
        ours = CopySource(source.server, session.bucket, trial.key(".from"), etag, "", len(_DATA), "")
        if not any(_copies_summed(trial, ours, able.copies_from, a) for a in OURS if a is not able.algorithm):
            return None
        taken = trial.key(".to")
        try:
            conditional = _refused(lambda: _copied(session, taken, ours, able), SourceChanged)
        except PermissionDenied:
            conditional = False
        return Copies(able.copies_from, conditional)
    finally:
        for which in set(trial.made):
            _remove(session, session.key(which), keeps)


def _copies_summed(trial: _Trial, source: CopySource, form: str, algorithm: Algorithm) -> bool:
    """Whether a copy has a checksum of its bytes by this algorithm, and what we say beside it."""
    key = trial.making(".to")
    try:
        copied(trial.session, key, source, form=form, text=_RIGHT, creating=False, algorithm=algorithm)
        headers = trial.session.wire.head(key).headers
    except StoreUnavailable:
        raise
    except StoreError:
        return False
    return (told(headers, algorithm), headers.get(ORIGIN)) == (sum_of(algorithm, _DATA), _RIGHT)


def _copied(session: S3Session, key: str, source: CopySource, able: Abilities) -> None:
    copied(session, key, source, form=able.copies_from, text=_RIGHT, creating=True, algorithm=able.algorithm)


class _Trial(NamedTuple):
    """Names of one probe, of which those that were made are removed again."""

    session: S3Session
    name: str
    made: list[str]

    def key(self, suffix: str) -> str:
        return self.session.key(self.name + suffix)

    def making(self, suffix: str) -> str:
        """The key, which something is made at now."""
        self.made.append(self.name + suffix)
        return self.key(suffix)

    def put(self, suffix: str, body: bytes = _DATA, **more: Any) -> dict[str, Any]:
        return self.session.call("put_object", Key=self.making(suffix), Body=body, **more)

    def put_anew(self) -> None:
        """Where something is."""
        self.put("", _OTHER, IfNoneMatch="*")


def _refused(call: Callable[[], object], *errors: type[StoreError]) -> bool:
    try:
        call()
    except errors:
        return True
    except (StoreUnavailable, PermissionDenied):
        raise
    except StoreError:  # not of what was wrong with it: what the server does not know is no refusal
        return False
    return False


def _granted(call: Callable[[], object]) -> bool:
    try:
        call()
    except (StoreUnavailable, PermissionDenied):
        raise
    except StoreError:
        return False
    return True


def _form(attempt: Callable[[str], object], etag: str) -> str:
    """How an ETag is to be written so that another one is refused and the right one is not; empty: there is no way.
    Raises PermissionDenied where there may be one, and we may not try it."""
    denied: PermissionDenied | None = None
    for form in _FORMS:
        wrong, right = form.format(_WRONG), form.format(etag.strip('"'))
        try:
            if _refused(lambda told=wrong: attempt(told), SourceChanged) and _granted(lambda told=right: attempt(told)):  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                return form
        except PermissionDenied as error:
            denied = error
    if denied:
        raise denied
    return ""


def _creates_parts(trial: _Trial) -> bool:
    """Whether completing a create-only multipart upload at a taken key is refused."""
    session, place = trial.session, {"Key": trial.making(".parts")}
    with contextlib.suppress(StoreError):  # of processes that died at this; not to be asked for is no harm
        abort_older(session, f"{RESERVED}/{FOLDER}", LEFT_BY_THE_DEAD)
    trial.put(".parts")
    try:
        place["UploadId"] = session.call("create_multipart_upload", **place)["UploadId"]
    except (StoreUnavailable, PermissionDenied):
        raise
    except StoreError:
        return False

    def complete() -> None:
        sent = session.call("upload_part", **place, PartNumber=1, Body=_OTHER)
        parts = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"]}]}
        session.call("complete_multipart_upload", **place, MultipartUpload=parts, IfNoneMatch="*")

    try:
        return _refused(complete, AlreadyExists)
    finally:
        with contextlib.suppress(StoreError):
            session.call("abort_multipart_upload", **place)


def _deletes(trial: _Trial) -> str:
    """The form in which a DELETE keeps to an ETag."""

    def attempt(condition: str) -> None:
        trial.put(".delete")
        trial.session.call("delete_object", Key=trial.key(".delete"), IfMatch=condition)

    return _form(attempt, trial.put(".delete")["ETag"])


def _deletes_versions(trial: _Trial) -> bool:
    """Whether a delete by version id takes that version and no other: an older one, and the newest."""
    session, key = trial.session, trial.key(".versions")

    def put(data: bytes) -> str:
        return str(trial.put(".versions", data).get("VersionId", ""))

    def newest_after(deleted: str) -> str:
        session.call("delete_object", Key=key, VersionId=deleted)
        return session.wire.head(key).version

    old, new = put(_DATA), put(_OTHER)
    if not old or not new or NULL in (old, new) or old == new:
        return False
    try:
        return newest_after(old) == new and newest_after(put(_DATA)) == new
    except (StoreUnavailable, PermissionDenied):
        raise
    except StoreError:  # refused, or gone altogether
        return False


def _computes(trial: _Trial, algorithm: Algorithm) -> bool:
    """Whether a wrong checksum is refused and a right one told."""
    suffix = f".{algorithm}"
    try:
        trial.put(suffix, _DATA, **{algorithm.parameter: sum_of(algorithm, _OTHER)})
    except StoreError as error:
        if code_of(error) not in _BAD_SUM:
            if isinstance(error, StoreUnavailable):
                raise
            return False
    else:
        return False
    right = sum_of(algorithm, _DATA)
    try:
        trial.put(suffix, _DATA, **{algorithm.parameter: right})
        return told(trial.session.wire.head(trial.key(suffix)).headers, algorithm) == right
    except StoreUnavailable:
        raise
    except StoreError:
        return False


def _copies_from(trial: _Trial) -> str:
    """The form in which a copy keeps to its source's ETag."""
    source = {"Bucket": trial.session.bucket, "Key": trial.key("")}
    copy = {"Key": trial.making(".copy"), "CopySource": source}
    etag = trial.put("")["ETag"]
    return _form(lambda told: trial.session.call("copy_object", **copy, CopySourceIfMatch=told), etag)


def _copies_onto(trial: _Trial) -> str:
    """The form in which a copy keeps to the ETag of what it replaces."""
    source = {"Bucket": trial.session.bucket, "Key": trial.key("")}
    etag = trial.put(".onto")["ETag"]
    copy = {"Key": trial.key(".onto"), "CopySource": source}
    return _form(lambda told: trial.session.call("copy_object", **copy, IfMatch=told), etag)


def _remove(session: S3Session, key: str, keeps: Versioning) -> None:
    """All of it. What cannot be removed stays: it is a few bytes, and the store cannot be used if it matters."""
    with contextlib.suppress(PermissionDenied):
        if keeps is Versioning.OFF:
            session.call("delete_object", Key=key)
            return
        page = session.call("list_object_versions", Prefix=key)
        for told_of in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            if told_of["Key"] == key:
                session.call("delete_object", Key=key, VersionId=told_of.get("VersionId", NULL))
