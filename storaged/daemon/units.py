"""The files that make the daemon a service of systemd: the unit that is shipped, and a drop-in with what only
storaged.yaml knows. Texts only: `storagectl systemd` writes them.

Quoting is that of systemd.syntax(7) and systemd.service(5), specifiers (%) that of systemd.unit(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url

from storaged.clock import SECOND
from storaged.config.settings import Settings
from storaged.digest import digest_of
from storaged.errors import UsageError
from storaged.stores.schemes import terms_of
from storaged.work.context import local_path

UNIT: Final = "storaged.service"
DROP_IN: Final = f"{UNIT}.d/10-storaged.conf"
STATE: Final = Path("/var/lib/storaged")  # StateDirectory= of the unit: systemd makes it

_SEAL: Final = "# Written by storagectl systemd install. Digest: "
_AFTER_DRAIN_S: Final = 30
_TEMPORARY: Final = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  what PrivateTmp= hides, nothing is made there
# What a user's own manager cannot do without root, or means for the whole machine (systemd.exec(5), 252).
_SYSTEM_ONLY: Final = re.compile(
    "(After|Wants|User|Group|StateDirectory|StateDirectoryMode|Protect[A-Za-z]+|Private[A-Za-z]+|DevicePolicy"
    "|CapabilityBoundingSet|AmbientCapabilities|KeyringMode|RemoveIPC)="
)


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a system service runs as."""

    user: str
    group: str


def unit(*, system: bool) -> str:
    """The unit as it is shipped, or what of it a user's own manager can do."""
    text = (files("storaged.daemon") / UNIT).read_text(encoding="utf-8")
    if system:
        return text
    paragraphs = filter(None, map(_for_a_user, text.removesuffix("\n").split("\n\n")))
    return "\n\n".join(paragraphs).replace("WantedBy=multi-user.target", "WantedBy=default.target") + "\n"


def _for_a_user(paragraph: str) -> str:
    """A paragraph without its directives that need root; nothing where no other is left."""
    lines = [line for line in paragraph.split("\n") if not _SYSTEM_ONLY.match(line)]
    return "\n".join(lines) if any(not line.startswith("#") for line in lines) else ""


def drop_in(settings: Settings, program: Path, account: Account | None, environ: Mapping[str, str]) -> str:
    """What the unit has to know of this configuration and of how this process was started (`environ`).

    `account` None: for the user's own manager. Raises UsageError for a path that no unit can name.
    """
    if re.search(r"""['"\\]""", str(program)):
        raise UsageError(f"systemd runs no program at {program}", hint="install it where no quote or backslash is")
    service = ["# The program and the configuration that were in use when this was written.", "ExecStart="]
    service += [f"ExecStart={_quoted(program)} --config {_quoted(settings.file).replace('$', '$$')} run"]
    service += ["", f"# `daemon.drain`, and {_AFTER_DRAIN_S} seconds to abandon what is still running then."]
    service += [f"TimeoutStopSec={-(-settings.daemon.drain // SECOND) + _AFTER_DRAIN_S}s"]
    mounts = []
    if account is not None:
        mounts = ["# These must be mounted before it starts, and it stops with them."]
        mounts += [f"RequiresMountsFor={_quoted(path)}" for path in writable(settings)]
        service += ["", f"User={account.user}", f"Group={account.group}", "", *_paths(settings, program)]
    service += _credentials(settings, account is not None, environ)
    for terms in dict.fromkeys(terms_of(url) for url in _urls(settings)):
        told = [f"Environment={_quoted(f'{name}={environ[name]}')}" for name in terms.variables if environ.get(name)]
        service += ["", f"# Where the {terms.client} looks, as in the shell that wrote this.", *told] if told else []
    return "\n".join([*(["[Unit]", *mounts, ""] if mounts else []), "[Service]", *service, ""])


def writable(settings: Settings) -> list[Path]:
    """Local directories that the daemon writes to: catalog, state, tiers and roots; links resolved, in their order."""
    found = [] if (database := _sqlite(settings)) is None else [database.parent]
    found += [settings.state_dir, *filter(None, map(local_path, _urls(settings)))]
    return sorted({Path(os.path.realpath(path)) for path in found})


def sealed(text: str) -> str:
    """The text with a first line that shows later whether a person edited it."""
    return f"{_SEAL}{digest_of([text.encode()])}\n{text}"


def untouched(text: str) -> bool:
    """Whether this is a text that `sealed` returned, of this or another version."""
    first, _, rest = text.partition("\n")
    return first == f"{_SEAL}{digest_of([rest.encode()])}"


def _paths(settings: Settings, program: Path) -> Iterator[str]:
    may_write = writable(settings)
    roots = {os.path.realpath(path) for d in settings.datasets.values() if (path := local_path(d.root))}
    yield "# What it writes: tiers, roots, state, the catalog's directory. A root that is missing (-) stops only what"
    yield "# touches it; a place of its own that is missing stops the service, which tries again."
    for path in may_write:
        optional = str(path) in roots or path.is_relative_to(STATE)
        yield f"ReadWritePaths={_quoted(path, '-' if optional else '')}"
    places = {os.path.realpath(path) for url in _urls(settings) if (path := local_path(url))}
    own = [path for path in may_write if str(path) not in places]  # below a root, objects may be released
    read = [path for path in _readable(settings) if path not in may_write and _below(path, own)]
    if read:
        yield ""
        yield "# What lies among these and is only read. Directories, never files: a file that an editor replaces would"
        yield "# stay as it was for the service."
        yield from (f"ReadOnlyPaths={_quoted(path, '-')}" for path in read)
    if any(_below(path, _TEMPORARY) for path in (*may_write, *_readable(settings), program)):
        yield ""
        yield "# Some of it lies in a directory for temporary files, which the service would not see."
        yield "PrivateTmp=no"


def _readable(settings: Settings) -> list[Path]:
    """Directories of policies, configuration and local access logs."""
    logs = [_plain(Path(source.path)) for source in settings.heat if "://" not in source.path]
    return sorted({Path(os.path.realpath(path)) for path in (settings.policies, settings.file.parent, *logs)})


def _plain(log: Path) -> Path:
    """The directory of a log's path before its first wildcard."""
    return Path(*takewhile(lambda name: not re.search(r"[*?\[]", name), log.parent.parts))


def _below(path: Path, places: Iterable[Path]) -> bool:
    return any(place in path.parents for place in places)


def _urls(settings: Settings) -> list[str]:
    return [*(tier.url for tier in settings.tiers.values()), *(d.root for d in settings.datasets.values())]


def _sqlite(settings: Settings) -> Path | None:
    url = make_url(settings.catalog)
    return Path(str(url.database)) if url.drivername == "sqlite" else None


def _credentials(settings: Settings, system: bool, environ: Mapping[str, str]) -> Iterator[str]:
    if _sqlite(settings) is None:
        if named := environ.get("STORAGED_CATALOG_PASSWORD_FILE"):
            yield from ("", "# The catalog's password.")
            yield f"LoadCredential=storaged.catalog_password:{_to_the_end_of_line(os.path.abspath(named))}"
        elif system:
            yield from ("", "# The catalog's password, if /etc/credstore.encrypted/storaged.catalog_password is there.")
            yield "LoadCredentialEncrypted=storaged.catalog_password"
    for receiver in settings.notify:
        for what in ("URL", "SECRET", "PASSWORD"):
            name = receiver.secret_name(what)
            if named := environ.get(f"STORAGED_{name}_FILE"):
                yield from ("", f"# A secret of the receiver {receiver.name}.")
                yield f"LoadCredential=storaged.{name.lower()}:{_to_the_end_of_line(os.path.abspath(named))}"
    for approver in settings.daemon.approvers:
        name = approver.secret_name
        if holder := environ.get(f"STORAGED_{name}_FILE") or approver.token_file:
            yield from ("", f"# The token of the approver {approver.name}.")
            yield f"LoadCredential=storaged.{name.lower()}:{_to_the_end_of_line(os.path.abspath(holder))}"
    if settings.daemon.token_file is not None:
        yield from ("", "# The token of `daemon.token_file`, which may then be readable by root only.")
        yield f"LoadCredential=storaged.daemon_token:{_to_the_end_of_line(str(settings.daemon.token_file))}"


def _quoted(value: Path | str, prefix: str = "") -> str:
    """A value as one word of a directive."""
    text = prefix + _checked(str(value))
    if re.fullmatch(r"[\w/.,:=@+-]+", text):
        return text
    return '"' + text.replace("\\", r"\\").replace('"', r"\"").replace("%", "%%") + '"'


def _to_the_end_of_line(path: str) -> str:
    """A path where systemd takes the rest of the line as it is."""
    if path != path.strip() or path.endswith("\\"):
        raise UsageError(f"no unit can name {path!r}", hint="a credential's path must not end in a space or backslash")
    return _checked(path).replace("%", "%%")


def _checked(text: str) -> str:
    if re.search("[\x00-\x1f\x7f\ud800-\udfff]", text):
        raise UsageError(f"no unit can name {text!r}", hint="rename it: control characters cannot stand in a unit")
    return text
