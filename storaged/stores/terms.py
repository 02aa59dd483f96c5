"""What is known of a place by its URL alone: how it is reached, and what its storage classes mean."""

from __future__ import annotations

from typing import Any

from storaged.errors import UsageError


class Terms:
    """Of a place on this machine, where everything is of one storage class and read at once. What is otherwise
    elsewhere is overridden."""

    name: str = ""  # what people call such places, where they have classes to choose from
    remote: bool = False  # it is reached over a network
    copies: bool = False  # its server copies between its places by itself, as a rule
    in_parts: str = ""  # a pattern of LIKE: identities of what was stored in parts
    in_versions: str = ""  # the same of what is kept in versions
    one_get: bool = False  # a GET tells what a HEAD does, so that small neighbours are opened by what reads them
    checksums: bool = False  # it tells checksums of what it holds, as a rule
    speeds: tuple[str, ...] = ()  # words for how soon a readable copy comes, the fastest first
    client: str = ""  # what reaches it, in words
    variables: tuple[str, ...] = ()  # of the environment, that say where the client finds its settings; no secrets
    ladder: tuple[str, ...] = ()  # classes to begin with, the hottest first, all of which are read at once
    credentials: tuple[str, ...] = ()  # of the environment: where one is set, the client says by these who it is
    rules: bool = False  # it changes storage classes by rules of its own, where it is told some
    rule_bytes: int = 0  # what is smaller than that is left by a rule that says no size

    @property
    def classes(self) -> bool:
        """Whether what is there has a storage class, which is the one that was asked for."""
        return bool(self.name)

    def archive(self, storage_class: str) -> bool:
        """Whether all that is in a class must be warmed before it can be read."""
        return False

    def may_be_cold(self, storage_class: str) -> bool:
        """Whether something in a class may have to be."""
        return False

    def takes_us(self, storage_class: str, speed: str) -> int:
        """How long it takes at most until what is found cold can be read, in microseconds, as it is documented.

        Raises UsageError for a speed that there is not, or not for this class.
        """
        return 0

    def until_us(self, now_us: int, days: int) -> int:
        """When a readable copy goes that is asked for now for so many days."""
        return now_us

    def billing(self, storage_class: str, speed: str, days: int) -> str:
        """What a readable copy is billed for, in words; empty: for nothing."""
        return ""

    def minimum_days(self, storage_class: str) -> int:
        """The days that a class bills at least; 0 for one that is not known."""
        return 0

    def rule_leads(self, here: str, to: str) -> bool:
        """Whether one of its own rules may change a class to another."""
        return False

    def rule_days(self, storage_class: str) -> int:
        """How many days old an object is at least when a rule gives it a class."""
        return 0

    def rule(
        self, name: str, url: str, storage_class: str, *, days: int, over: int | None, under: int | None, enabled: bool
    ) -> tuple[str, dict[str, Any]]:
        """The bucket, and its rule for what is below a URL, larger than `over` bytes, smaller than `under` and so many
        days old. Raises UsageError where there are no rules."""
        raise UsageError(f"{url} is no place that has rules of its own")

    def leaving(self, storage_class: str) -> str | None:
        """What a copy of an object from this class into another one is billed for, beside the request itself; empty:
        for nothing; None: the class is not known."""
        return None
