"""Stores that refuse every change."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from storaged.errors import PermissionDenied
from storaged.stores.archives import Warmed
from storaged.stores.base import RESERVED, Deleted, New, Stat, Traits, Upload
from storaged.stores.copies import Copy, CopySource
from storaged.stores.schemes import terms_of
from storaged.stores.wrappers import StoreWrapper


class ReadOnly(StoreWrapper):
    """Refuses every change."""

    @property
    def traits(self) -> Traits:
        return dataclasses.replace(self._store.traits, writable=False)

    def create(self, key: str, new: New) -> Upload:
        raise self._refusal(key)

    def copy(self, key: str, new: New, source: CopySource) -> Stat:
        raise self._refusal(key)

    def copies(self, wanted: Sequence[Copy]) -> Mapping[str, Stat]:
        """None: who asks for each by itself is refused."""
        return {}

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        raise self._refusal(key)

    def warm(self, key: str, *, identity: str, days: int, speed: str) -> Warmed:
        raise self._refusal(key)

    def transition(self, key: str, *, identity: str, storage_class: str) -> Stat:
        raise self._refusal(key)

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        raise self._refusal(key)

    def tidy(self) -> int:
        raise self._refusal(RESERVED)

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        raise self._refusal(name)

    def delete_note(self, name: str) -> None:
        raise self._refusal(name)

    def _refusal(self, key: str) -> PermissionDenied:
        return PermissionDenied(f"{self.url} is read-only here, so {key!r} cannot be changed", key=key)


class Untried(ReadOnly):
    """And that is not tried either, as a trial takes objects of our own: it says what stores of its kind can do as a
    rule."""

    @property
    def traits(self) -> Traits:
        terms = terms_of(self.url)
        return Traits(writable=False, checksums=terms.checksums, transitions=terms.classes)
