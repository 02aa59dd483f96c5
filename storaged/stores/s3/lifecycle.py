"""Lifecycle rules of S3: what one can say, as put-bucket-lifecycle-configuration takes it.

Sources: User Guide, "Transitioning objects using Amazon S3 Lifecycle"; API Reference, PutBucketLifecycleConfiguration
(as botocore 1.43 has it). Read in 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from storaged.model import DEFAULT_CLASS

_COLD: Final = ("GLACIER", "DEEP_ARCHIVE")
DOWN: Final[Mapping[str, tuple[str, ...]]] = {  # from a class to which others a rule may lead
    DEFAULT_CLASS: ("STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", *_COLD),
    "STANDARD_IA": ("INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", *_COLD),
    "INTELLIGENT_TIERING": ("ONEZONE_IA", "GLACIER_IR", *_COLD),
    "ONEZONE_IA": _COLD,
    "GLACIER_IR": _COLD,
    "GLACIER": ("DEEP_ARCHIVE",),
}
_LEAST_DAYS: Final = {"STANDARD_IA": 30, "ONEZONE_IA": 30}
LEAST_BYTES: Final = 128 << 10  # of what rules without a size lead anywhere
LONGEST_ID: Final = 255


def least_days(storage_class: str) -> int:
    """How old an object is at least when a rule leads it to a class."""
    return _LEAST_DAYS.get(storage_class, 0)


def rule(
    name: str, prefix: str, storage_class: str, *, days: int, over: int | None, under: int | None, enabled: bool
) -> dict[str, Any]:
    """A rule for what is below a prefix, larger than `over` and smaller than `under` bytes, and so many days old."""
    asked = {"Prefix": prefix or None, "ObjectSizeGreaterThan": over, "ObjectSizeLessThan": under}
    given = {key: value for key, value in asked.items() if value is not None}
    return {
        "ID": name[:LONGEST_ID],
        "Status": "Enabled" if enabled else "Disabled",
        "Filter": {"And": given} if len(given) > 1 else given or {"Prefix": ""},
        "Transitions": [{"Days": days, "StorageClass": storage_class}],
    }
