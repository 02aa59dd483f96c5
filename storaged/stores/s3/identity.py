"""What an identity is made of on S3: ETag, whole seconds of LastModified, and the version id where there is one.

The version `null` is left out: it is what every object has that was made while its bucket kept no versions, and
switching versioning on must not make other objects of them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NULL: Final = "null"  # the id of what was made while no versions were kept
QUOTED: Final = '"{}"'  # an ETag in a condition, as HTTP has it
BARE: Final = "{}"  # and as some servers do, which refuse their own quoted one


class Parts(NamedTuple):
    """`version` is empty for the null version and where there are none."""

    etag: str  # without quotes
    seconds: int  # since 1970
    version: str = ""

    @property
    def condition(self) -> str:
        """As If-Match wants it."""
        return QUOTED.format(self.etag)


def identity_of(etag: str, seconds: int, version: str | None) -> str:
    """The identity of what a store describes so. Quotes around the ETag do not matter."""
    told = f"{etag.strip(chr(34))}:{seconds}"
    return f"{told}:{version}" if version and version != NULL else told


def parts(identity: str) -> Parts:
    """What an identity was made of; one that is not ours has parts that fit nothing."""
    etag, _, rest = identity.partition(":")
    seconds, _, version = rest.partition(":")
    return Parts(etag, int(seconds), version) if seconds.isdecimal() else Parts(identity, -1)
