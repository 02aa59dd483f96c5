"""What others than its owner may do with an object: what no PUT of ours gives back."""

from __future__ import annotations

from typing import Final

from storaged.errors import PermissionDenied
from storaged.stores.s3.questions import ACL, OWNERSHIP, NoAnswer, ask, known
from storaged.stores.s3.session import S3Session

_EACH: Final = "each"  # no words of grants: every object has its own
_KEPT: Final = "grants"


def of_others(session: S3Session, key: str, etag: str) -> str:
    """The grants to others of a full key with this ETag, in words; empty: there are none. Raises PermissionDenied,
    StoreUnavailable, NoAnswer where it is not known."""
    of_all = known.get(session, _KEPT)
    if of_all is None:
        try:
            of_all = known.keep(session, _KEPT, _of_all(session))
        except PermissionDenied:
            return f"not known, as {OWNERSHIP.right} is refused"
    return "" if of_all == "" else of_one(session, key, etag)


def of_one(session: S3Session, key: str, etag: str) -> str:
    """The same by its own ACL, whoever owns what is in the bucket."""
    answer = ask(session, ACL, key=key, etag=etag)
    if answer is None:
        return known.keep(session, _KEPT, "")  # a server without ACLs
    owners = answer.each("Owner")
    owner = owners[0].text("ID") if owners else ""
    if not owner or not answer.each("AccessControlList"):
        raise NoAnswer(f"{session.name(key)!r}: its ACL names no owner or no list, so it is not known", key=key)
    grants = []
    for grant in answer.each("Grant"):
        who = grant.text("ID")
        name = grant.text("URI") or grant.text("EmailAddress") or grant.text("DisplayName") or who or "somebody"
        if who != owner:
            grants.append(f"{grant.text('Permission')} to {name.rpartition('/')[2]}")
    return ", ".join(grants)


def _of_all(session: S3Session) -> str:
    """Once per bucket: nothing where its owner owns all that is in it. Where that is not told, because nothing is set
    or the server knows no such thing, every object is asked for its own."""
    try:
        answer = ask(session, OWNERSHIP)
    except NoAnswer:
        return _EACH
    rules = [] if answer is None else answer.each("Rule")
    enforced = any(rule.text("ObjectOwnership") == "BucketOwnerEnforced" for rule in rules)
    return "" if enforced else _EACH
