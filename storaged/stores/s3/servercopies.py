"""Which copies the server makes for a store, found out by trying with the first object of each bucket."""

from __future__ import annotations

import abc
import threading
from collections.abc import Mapping, Sequence

from storaged.errors import PermissionDenied, StoreError
from storaged.naming import named_by
from storaged.stores.access import Opening
from storaged.stores.base import New, Stat
from storaged.stores.copies import Copy, CopySource
from storaged.stores.keys import check_attempt
from storaged.stores.locks import Protection, Versioning
from storaged.stores.s3 import copying, probe, together
from storaged.stores.s3.session import S3Session


class ServerCopies(abc.ABC):
    """The part of the port that has the server copy."""

    _session: S3Session
    _how: Opening
    _lock: threading.RLock

    def __init__(self, session: S3Session) -> None:
        self._made = together.Made(session)
        self._copies: dict[str, copying.Copies | None] = {}  # by the bucket that is copied from

    @abc.abstractmethod
    def _abilities(self) -> tuple[Versioning, probe.Abilities]: ...

    @property
    @abc.abstractmethod
    def _kept(self) -> Protection: ...

    @abc.abstractmethod
    def _name(self, key: str) -> str: ...

    def copy(self, key: str, new: New, source: CopySource) -> Stat | None:
        """CopyObject on condition of both, where the source's bucket is on the same server and in the same region, we
        may read there as who we are here, and the server tells a checksum of all its bytes."""
        name = self._name(key)
        check_attempt(new.attempt)
        if not source.checksum or source.server != self._session.server or source.size > copying.LARGEST:
            return None
        how = self._how_it_copies(source)
        if how is None:
            return None
        try:
            return copying.copy(
                self._session, name, new, source, how=how, storage_class=self._how.storage_class, made=self._later
            )
        except StoreError as error:
            if isinstance(error, PermissionDenied) or type(error) is StoreError:
                return None  # of this one alone: it may be encrypted with a key that is not ours to use here
            raise

    def copies(self, wanted: Sequence[Copy]) -> Mapping[str, Stat]:
        """CopyObjects side by side, of things in one bucket that such a server copies."""
        made = self._later
        if made is None or not wanted or not all(map(self._copied_here, wanted)):
            return {}
        try:
            how = self._how_it_copies(wanted[0].source)
        except StoreError:
            return {}  # who asks for the first by itself hears why
        if how is None or not how.creates:
            return {}
        names = {self._name(one.key): one for one in wanted}
        found = copying.copies(self._session, names, how=how, storage_class=self._how.storage_class, made=made)
        return {names[name].key: stat for name, stat in found.items()}

    def _copied_here(self, one: Copy) -> bool:
        source = one.source
        return (
            bool(source.checksum)
            and source.server == self._session.server
            and source.size <= copying.LARGEST
            and named_by(check_attempt(one.origin.attempt), one.key)
        )

    @property
    def _later(self) -> together.Made | None:
        """Where what is made may be looked at when `near` ends: a listing tells no ids of versions."""
        return self._made if self._kept.versioning is Versioning.OFF else None

    def _how_it_copies(self, source: CopySource) -> copying.Copies | None:
        """From the source's bucket."""
        with self._lock:
            keeps, able = self._abilities()
            if source.bucket not in self._copies:
                self._copies[source.bucket] = probe.copies(self._session, keeps, able, source)
            return self._copies[source.bucket]
