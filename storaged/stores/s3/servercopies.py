"""Which copies the server makes for a store, found out by trying with the first object of each bucket."""

from __future__ import annotations

import abc
import threading

from storaged.errors import PermissionDenied, StoreError
from storaged.stores.access import Opening
from storaged.stores.base import New, Stat
from storaged.stores.copies import CopySource
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
