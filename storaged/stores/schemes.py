"""The schemes of URLs that stores are opened for, and what each says of its places; for who opens none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from storaged.errors import UsageError
from storaged.stores.s3.terms import S3Terms
from storaged.stores.terms import Terms

TERMS: Final[Mapping[str, Terms]] = MappingProxyType({"file": Terms(), "s3": S3Terms()})
SCHEMES: Final = tuple(TERMS)
SCHEMES_HINT: Final = f"there are {' and '.join(f'{scheme}://' for scheme in SCHEMES)}"
CLASSED: Final = " or ".join(terms.name for terms in TERMS.values() if terms.classes)  # where there are classes
SPEEDS: Final = tuple(dict.fromkeys(speed for terms in TERMS.values() for speed in terms.speeds))
CHEAPEST: Final = SPEEDS[-1]  # the slowest: for what nobody waits for


def terms_of(url: str) -> Terms:
    """What is known of the place at a URL; of one of a scheme that is not known, what is so on a disk."""
    return TERMS.get(url.partition("://")[0], TERMS["file"])


def check_speed(speed: str) -> None:
    """Raises UsageError for a word that no store has for how soon a readable copy comes."""
    if speed not in SPEEDS:
        raise UsageError(f"there is no speed {speed!r}", hint=f"one of: {', '.join(SPEEDS)}")


# Of a class by its name, whichever store's it is: a directory may be a bucket that somebody mounted.


def may_be_cold(storage_class: str) -> bool:
    """Whether something in a class may have to be warmed before it can be read."""
    return any(terms.may_be_cold(storage_class) for terms in TERMS.values())


def minimum_days(storage_class: str) -> int:
    """The days that a class bills at least; 0 for one that is not known."""
    return max(terms.minimum_days(storage_class) for terms in TERMS.values())


def leaving(storage_class: str) -> str:
    """What a copy of an object from this class into another one is billed for, beside the request itself; empty: for
    nothing."""
    told = [terms.leaving(storage_class) for terms in TERMS.values()]
    return next((words for words in told if words is not None), f"what its store bills for leaving {storage_class}")
