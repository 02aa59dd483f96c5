"""What Amazon S3 says of its storage classes, and bills for leaving one, in words: prices differ by region.

Source: User Guide, "Understanding and managing Amazon S3 storage classes" and Amazon S3 pricing. Read in 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from storaged.stores.s3 import classes, lifecycle
from storaged.stores.terms import Terms

_ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})  # what is in these must be warmed before it can be read

# By class: the days that are billed at least, and whether each byte that is read is billed.
_TERMS: Final[Mapping[str, tuple[int, bool]]] = MappingProxyType(
    {
        classes.STANDARD: (0, False),
        "REDUCED_REDUNDANCY": (0, False),
        "INTELLIGENT_TIERING": (0, False),
        "STANDARD_IA": (30, True),
        "ONEZONE_IA": (30, True),
        "GLACIER_IR": (90, True),
        "GLACIER": (90, True),
        "DEEP_ARCHIVE": (180, True),
    }
)


class S3Terms(Terms):
    """Of every place in a bucket."""

    name = "S3"
    remote = True
    copies = True
    in_parts = "%-%:%"  # an ETag with a dash; there is none in seconds, and no colon behind a version id's
    in_versions = "%:%:%"
    one_get = True
    checksums = True
    speeds = classes.SPEEDS
    client = "AWS client"
    variables = (
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_CA_BUNDLE",
    )
    ladder = (classes.STANDARD, "STANDARD_IA", "GLACIER_IR")
    credentials = ("AWS_ACCESS_KEY_ID",)
    rules = True
    rule_bytes = lifecycle.LEAST_BYTES

    def archive(self, storage_class: str) -> bool:
        """The Intelligent-Tiering class is none: what is in it reads at once, if it was not moved on."""
        return storage_class in _ARCHIVES

    def may_be_cold(self, storage_class: str) -> bool:
        """Intelligent-Tiering's class and tiers too."""
        return storage_class in classes.TAKES

    def takes_us(self, storage_class: str, speed: str) -> int:
        """As documented of the class; of Intelligent-Tiering, the slowest, for one that reads at once by its name."""
        return classes.takes_us(storage_class, speed) or classes.takes_us(classes.INTELLIGENT, speed)

    def until_us(self, now_us: int, days: int) -> int:
        """At a midnight, UTC."""
        return classes.until_us(now_us, days)

    def billing(self, storage_class: str, speed: str, days: int) -> str:
        """The retrieval, and the copy."""
        return classes.billing(storage_class, speed, days)

    def minimum_days(self, storage_class: str) -> int:
        """As its pricing page has it."""
        return _TERMS.get(storage_class, (0, False))[0]

    def rule_leads(self, here: str, to: str) -> bool:
        """Only ever to colder ones."""
        return to in lifecycle.DOWN.get(here, ())

    def rule_days(self, storage_class: str) -> int:
        """Some classes take no young objects."""
        return lifecycle.least_days(storage_class)

    def rule(
        self, name: str, url: str, storage_class: str, *, days: int, over: int | None, under: int | None, enabled: bool
    ) -> tuple[str, dict[str, Any]]:
        """As put-bucket-lifecycle-configuration takes it."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        made = lifecycle.rule(name, below, storage_class, days=days, over=over, under=under, enabled=enabled)
        return bucket, made

    def leaving(self, storage_class: str) -> str | None:
        """A retrieval by the byte, and what is left of the minimum."""
        if storage_class not in _TERMS:
            return None
        days, read = _TERMS[storage_class]
        parts = [f"a retrieval fee per byte read from {storage_class}"] if read else []
        parts += [f"the rest of the {days} days that {storage_class} bills at least"] if days else []
        return " and ".join(parts)
