"""Whether a bucket lets us delete below a folder, asked with requests for names that nothing has; and whether it
deletes by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from storaged.clock import new_id
from storaged.errors import ObjectNotFound, PermissionDenied
from storaged.stores.locks import Versioning
from storaged.stores.s3.expiry import expiry
from storaged.stores.s3.identity import NULL
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.versions import protection


class Deletes:
    """The part of the port that tells what could not be deleted. A bucket shows nothing of that before it is asked."""

    _session: S3Session

    def undeletable(self, keys: Collection[str], *, ask: bool = False) -> Mapping[str, str]:
        """With `ask`, one request for each folder, for a name that nothing has there. Where versions are kept it names
        one, so that no delete marker is made."""
        if not ask or not keys:
            return {}
        which = {} if protection(self._session).versioning is Versioning.OFF else {"VersionId": NULL}
        folders = {key: key.rpartition("/")[0] for key in keys}
        told = {folder: self._asked(folder, which) for folder in sorted(set(folders.values()))}
        return {key: told[folder] for key, folder in folders.items() if told[folder]}

    def unwritable(self, key: str) -> str:
        """A bucket shows nothing of that before it is asked."""
        return ""

    def expiry(self) -> str:
        """By its lifecycle rules. Raises PermissionDenied where they may not be asked for."""
        return expiry(self._session)

    def _asked(self, folder: str, which: Mapping[str, str]) -> str:
        nothing = "/".join(filter(None, (folder, f"storaged-{new_id()}")))
        try:
            self._session.call("delete_object", Key=self._session.key(nothing), **which)
        except PermissionDenied as error:
            return f"{error.message}: allow s3:DeleteObject there"
        except ObjectNotFound:
            return ""
        return ""
