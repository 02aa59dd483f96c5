"""What S3 and its clients raise, as storaged.errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Final

import botocore.exceptions as boto
import obstore.exceptions as obs
from botocore.parsers import ResponseParserError

from storaged.errors import (
    AlreadyExists,
    ObjectCold,
    ObjectNotFound,
    PermissionDenied,
    SourceChanged,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_STRANGERS: Final = frozenset({"InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "NotSignedUp"})
_FULL: Final = frozenset(
    {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientCapacity"}
)
_ELSEWHERE: Final = frozenset(
    {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
_AGAIN: Final = frozenset(
    {
        "BadDigest",  # what arrived is not what was sent, and nothing was stored
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)
_COLD: Final = frozenset({"InvalidObjectState", "ObjectNotInActiveTierError"})  # to a read, and to a copy
_CONDITION: Final = frozenset({"PreconditionFailed", "412"})
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchVersion", "NotFound", "404"})
_CREDENTIALS: Final = (
    boto.CredentialRetrievalError,
    boto.NoAuthTokenError,
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.ProfileNotFound,
    boto.SSOError,
    boto.TokenRetrievalError,
)
_LINE: Final = (
    boto.ConnectionError,  # no connection, or none in time
    boto.HTTPClientError,
    ResponseParserError,
    TimeoutError,
    ConnectionError,
)
_STATUS: Final = re.compile(r"status:? (\d{3})")
_CODE: Final = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]*)</Message>")

_SIGN_IN = "sign in again, or look at the credentials of this machine; what was begun starts anew"


def unsigned(error: StoreError) -> bool:
    """Whether it is about credentials that are missing or over, which no right mends."""
    return error.hint == _SIGN_IN


def answered(status: int, code: str, words: str, key: str, bucket: str, *, creating: bool = False) -> StoreError:
    """The error that an answer of S3 means, by its HTTP status and code. `creating`: the request was to make something
    at a vacant key, so that a failed condition says that the key is taken."""
    told = f"{_what(key, bucket)}: {words or code or f'status {status}'}"
    if code in _EXPIRED:
        return PermissionDenied(f"{told}: the credentials have expired", key=key, hint=_SIGN_IN)
    if code == "RequestTimeTooSkewed":
        return PermissionDenied(
            f"{told}: the store's clock and this machine's differ", key=key, hint="set this machine's clock (NTP)"
        )
    if code in _COLD:
        return ObjectCold(
            f"{key!r} is in an archive class and cannot be read now",
            key=key,
            hint="ask for a readable copy with `storagectl warm`; `storagectl restores` says when it is there",
        )
    if code == "NoSuchBucket" or (not key and status == 404):  # the answer to a HEAD has no body to say which
        return StoreError(f"{told}: there is no such bucket", key=key, hint="make it, or correct the url")
    if code in _ELSEWHERE or status in (301, 307):
        return StoreError(f"{told}: the bucket is in another region", key=key, hint="say its region under `buckets:`")
    if code in _MISSING:
        return ObjectNotFound(f"there is no {key!r}", key=key)
    if code in _CONDITION or status == 412:
        if creating:
            return AlreadyExists(f"{key!r} is there already", key=key)
        return SourceChanged(f"{key!r} is not the object that the catalog knows", key=key)
    if code in _FULL or status == 507:
        return StoreFull(told, key=key)
    if code in _AGAIN or (status >= 500 and status != 501) or status == 429:
        return StoreUnavailable(told, key=key)
    if status == 404 and code in ("", "404"):
        return ObjectNotFound(f"there is no {key!r}", key=key)
    if status in (401, 403) or code in _STRANGERS or code == "AccessDenied":
        return PermissionDenied(f"{told}: the store refuses it", key=key, hint="see what this role or user may do")
    if status == 400 and code in ("", "400"):  # the answer to a HEAD has no body to say why
        return PermissionDenied(
            f"{told}: the store does not take the request",
            key=key,
            hint="expired credentials, a wrong region and a clock that is off are answered so",
        )
    return StoreError(told, key=key)


def code_of(error: StoreError) -> str:
    """The code that S3 gave, such as NoSuchUpload; empty where it gave none."""
    cause = error.__cause__
    if isinstance(cause, boto.ClientError):
        return str(cause.response.get("Error", {}).get("Code", ""))
    found = _CODE.search(str(cause))
    return found[1] if found else ""


def answer_error(status: int, text: str, key: str, bucket: str, *, creating: bool = False) -> StoreError:
    """The error that a status and its XML mean."""
    code, words = _CODE.search(text), _MESSAGE.search(text)
    return answered(status, code[1] if code else "", words[1] if words else "", key, bucket, creating=creating)


def _of_obstore(text: str, key: str, bucket: str, *, creating: bool) -> StoreError:
    status = _STATUS.search(text)
    if status is None:  # no answer: a connection that was refused, cut or silent
        return StoreUnavailable(f"{_what(key, bucket)}: {text.partition(chr(10))[0]}", key=key)
    return answer_error(int(status[1]), text, key, bucket, creating=creating)


def store_error(error: BaseException, key: str, bucket: str, *, creating: bool = False) -> StoreError | None:
    """The error of ours, or None where this is nothing that a store does."""
    match error:
        case boto.ClientError():
            about = error.response.get("Error", {})
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            return answered(status, about.get("Code", ""), about.get("Message", ""), key, bucket, creating=creating)
        case obs.AlreadyExistsError() if "ConditionalRequestConflict" in str(error):  # another create is under way
            return answered(409, "ConditionalRequestConflict", "", key, bucket)
        case obs.AlreadyExistsError():
            return AlreadyExists(f"{key!r} is there already", key=key)
        case obs.PreconditionError():
            return answered(412, "", "", key, bucket, creating=creating)
        case obs.BaseError():
            return _of_obstore(str(error), key, bucket, creating=creating)
        case FileNotFoundError():  # obstore
            return answer_error(404, str(error), key, bucket)
    if isinstance(error, _CREDENTIALS):
        return PermissionDenied(f"{_what(key, bucket)}: no credentials: {error}", key=key, hint=_SIGN_IN)
    if isinstance(error, _LINE):
        return StoreUnavailable(f"{_what(key, bucket)}: {error or type(error).__name__}", key=key)
    if isinstance(error, boto.BotoCoreError):
        return StoreError(f"{_what(key, bucket)}: {error}", key=key)
    if type(error).__name__ == "PanicException":  # of obstore: no Exception, and its class cannot be imported
        return StoreUnavailable(f"{_what(key, bucket)}: the client broke: {error}", key=key)
    return None


@contextlib.contextmanager
def translated(key: str, bucket: str, *, creating: bool = False) -> Iterator[None]:
    """Raise what S3's clients raise as an error of ours, with the first as its cause."""
    try:
        yield
    except StoreError:
        raise
    except BaseException as error:
        ours = store_error(error, key, bucket, creating=creating)
        if ours is None:
            raise
        raise ours from error


def _what(key: str, bucket: str) -> str:
    return f"{key!r} in s3://{bucket}" if key else f"s3://{bucket}"
