"""Keys that lie side by side: a page of a listing tells of all of them what a HEAD of each would, and what a HEAD tells
a GET tells too.

A listing is billed as a PUT, which is the price of 12.5 HEADs, so that fewer keys are looked at one by one. So is what
the page does not reach: where other keys lie between these, in many of them.
"""

from __future__ import annotations

import abc
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from storaged.errors import StoreError, StoreUnavailable, VerificationFailed
from storaged.stores.base import Ended, Had, Stat, Wanted
from storaged.stores.locks import Protection, Versioning
from storaged.stores.s3.identity import parts
from storaged.stores.s3.metadata import metadata_of
from storaged.stores.s3.pages import Mark, ask
from storaged.stores.s3.session import S3Session

WORTH: Final = 13  # keys that a listing is asked for
HELD: Final = 4 << 20  # bytes that a thread has waiting to be sent
_BETWEEN: Final = 2  # times as many keys as are wanted are listed


def listed(session: S3Session, keys: Sequence[str]) -> Mapping[str, Stat]:
    """What is at these full keys, by one page, so far as that is worth it. Of a bucket that keeps no versions. Raises
    StoreUnavailable."""
    if len(keys) < WORTH:
        return {}
    wanted = set(keys)
    before = min(keys)[:-1]  # sorts before the first of them, and after nearly all else
    try:
        page = ask(session, session.prefix, Mark(before, before), most=_BETWEEN * len(wanted))
    except StoreUnavailable:
        raise
    except StoreError:  # it does not list, not in order, or not for us
        return {}
    found = zip(page.keys, page.entries, strict=True)
    return {key: stat for key, stat in found if key in wanted and isinstance(stat, Stat)}


class Neighbours(abc.ABC):
    """The part of the port that many keys are asked for at once."""

    _session: S3Session

    @property
    @abc.abstractmethod
    def _kept(self) -> Protection: ...

    @abc.abstractmethod
    def _name(self, key: str) -> str: ...

    def identities(self, keys: Sequence[str]) -> Mapping[str, str]:
        """By a listing, of keys that lie together in a bucket that keeps no versions."""
        if self._kept.versioning is not Versioning.OFF:
            return {}
        full = {self._session.key(self._name(key)): key for key in keys}
        return {full[key]: stat.identity for key, stat in listed(self._session, list(full)).items()}

    def contents(self, wanted: Sequence[Wanted]) -> Mapping[str, Had]:
        """By one GET each, which tells what a HEAD does."""
        found: dict[str, Had] = {}
        locks = self._kept.locks
        for key, identity, size in wanted:
            try:
                full = self._session.key(self._name(key))
                head, data = self._session.wire.get(full, condition=parts(identity).condition)
                if head.stat(key).identity == identity and len(data) == size:
                    found[key] = Had(data, metadata_of(self._session, key, head, locks=locks))
            except StoreUnavailable:
                break  # whoever asks for the others by themselves waits, and tries again
            except StoreError:
                continue
        return found


class _Made(NamedTuple):
    """What the server said that it made at a full key. `look`: by itself, which raises what is wrong with it. `there`:
    whether what is seen there is it."""

    look: Callable[[], Stat]
    there: Callable[[Stat], bool]


class Put(NamedTuple):
    """A small thing that waits to be sent, at a vacant full key. `sent`: what became of it, from the headers of the
    answer; None: none came, or a refusal. Raises StoreError."""

    key: str
    name: str
    body: bytes
    headers: Mapping[str, str]
    sent: Callable[[Mapping[str, str] | None], Stat]


class Made:
    """What was made within `near` and nobody has looked at yet, and what is to be sent, of each thread by itself."""

    def __init__(self, session: S3Session) -> None:
        self._session = session
        self._here = threading.local()

    @contextlib.contextmanager
    def near(self) -> Iterator[Mapping[str, Ended]]:
        """At its end all of it is there as it was told, and what it gives tells of it by its name. Raises
        VerificationFailed, or as a look does."""
        made: dict[str, _Made] = {}
        told: dict[str, Ended] = {}
        self._here.made, self._here.told, self._here.puts = made, told, []
        try:
            yield told
            self._send()
        finally:
            self._here.made = None
        page = listed(self._session, list(made))
        for key, one in made.items():
            found = page.get(key)
            if found is None or not one.there(found):
                found = one.look()
                if not one.there(found):
                    raise VerificationFailed(f"{found.key}: what is there is not what {self._session.url} said it made")
            told[found.key] = found

    def put(self, one: Put) -> bool:
        """Whether it is sent when `near` ends, or some come together that hold much."""
        if getattr(self._here, "made", None) is None:
            return False
        puts: list[Put] = self._here.puts
        puts.append(one)
        if sum(len(waiting.body) for waiting in puts) >= HELD:
            self._send()
        return True

    def _send(self) -> None:
        puts, self._here.puts = self._here.puts, []
        answers = self._session.wire.puts({one.key: (one.body, one.headers) for one in puts})
        for one in puts:
            try:
                stat = one.sent(answers.get(one.key))
            except StoreError as error:
                self._here.told[one.name] = error
            else:
                if stat.identity:  # it was looked at
                    self._here.told[one.name] = stat

    def later(self, key: str, look: Callable[[], Stat], there: Callable[[Stat], bool]) -> bool:
        """Whether what the server said that it made at a full key is looked at when `near` ends. `look`: by itself,
        which raises what is wrong with it; `there`: whether what is seen there is it."""
        made: dict[str, _Made] | None = getattr(self._here, "made", None)
        if made is None:
            return False
        made[key] = _Made(look, there)
        return True
