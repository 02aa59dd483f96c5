"""Whether a bucket deletes by itself what is put into it: an expiration among its lifecycle rules.

Nobody has told it that a blob is the only copy of anything. With versions it puts a delete marker there, and other
rules take the version later. A rule that asks for a tag means none of ours, which have none; one that asks for a size
may.
"""

from __future__ import annotations

from typing import Final

from storaged.stores.s3.questions import Answer, NoAnswer, Question, ask, known
from storaged.stores.s3.session import S3Session

LIFECYCLE: Final = Question(
    "lifecycle",
    "LifecycleConfiguration",
    "s3:GetLifecycleConfiguration",
    frozenset({"NoSuchLifecycleConfiguration"}),
)


def expiry(session: S3Session) -> str:
    """By which rule the bucket deletes what is below this place, in words; empty: by none, or its server has no such
    rules. What it answered counts for some minutes. Raises PermissionDenied where it may not be asked."""
    told = known.get(session, LIFECYCLE.query)
    if told is not None:
        return told
    try:
        rules = ask(session, LIFECYCLE)
    except NoAnswer:
        rules = None
    ours = session.key("")
    found = (_deletes(rule, ours, session.bucket) for rule in (rules.each("Rule") if rules else ()))
    return known.keep(session, LIFECYCLE.query, next(filter(None, found), ""))


def _deletes(rule: Answer, ours: str, bucket: str) -> str:
    prefix = rule.text("Prefix")
    if rule.text("Status") != "Enabled" or rule.each("Tag") or not (prefix.startswith(ours) or ours.startswith(prefix)):
        return ""
    for expiration in rule.each("Expiration"):
        days, date = expiration.text("Days"), expiration.text("Date")
        if days or date:
            when = f"{days} days old" if days else f"there on {date}"
            what = f"below {prefix}" if prefix else "in it"
            return f"the bucket {bucket} deletes what is {when} {what}, by its lifecycle rule {rule.text('ID')!r}"
    return ""
