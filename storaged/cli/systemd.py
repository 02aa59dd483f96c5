"""systemd: the daemon as a service. The files are written here; systemctl is run by whoever may."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from storaged.cli.options import DryRunOption, JsonOption, Options, of
from storaged.cli.render import Output, printable
from storaged.errors import StoragedError, UsageError

if TYPE_CHECKING:
    import pwd

    from storaged.config.settings import Settings

_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}"  # of a user or group, as systemd takes it

_UserOption = Annotated[
    bool, typer.Option("--user/--system", help="For your own service manager, or for the whole machine (as root).")
]
_RunAsOption = Annotated[
    str, typer.Option("--run-as", metavar="USER[:GROUP]", help="Whom the system's service runs as.")
]


def install(
    ctx: typer.Context,
    user: _UserOption = False,
    run_as: _RunAsOption = "storaged",
    root: Annotated[
        Path, typer.Option("--root", metavar="DIR", help="Write below it, as into the image of a machine.")
    ] = Path("/"),
    dry_run: DryRunOption = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that were edited by hand.")] = False,
    _json: JsonOption = False,
) -> None:
    """Write the unit of `storaged run`, and a drop-in for this storaged.yaml: program, paths, user, credentials.

    Run it again when tiers or datasets change. Changes of your own go into another drop-in: `systemctl edit storaged`.

    Example: storagectl systemd install --dry-run
    """
    from storaged.daemon.units import untouched

    settings, texts = _texts(of(ctx), user, run_as)
    directory = _directory(user, root)
    states, blocks, edited = {}, [], []
    for name, text in texts.items():
        path = directory / name
        before = _read(path)
        states[str(path)] = "created" if before is None else "unchanged" if before == text else "changed"
        if before is not None and before != text and not untouched(before):
            edited.append(path)
        if dry_run and before != text:
            blocks.append(_difference(path, before or "", text))
    if edited and not force and not dry_run:
        raise UsageError(
            f"{printable(', '.join(map(str, edited)))}: edited by hand, and left as it is",
            hint="move the changes to `systemctl edit storaged`, then run this with --force; --dry-run shows both",
        )
    if not dry_run:
        for name, text in texts.items():
            if states[str(directory / name)] != "unchanged":
                _write(directory / name, text)
    would = "would be " if dry_run else ""
    changes = [f"{would if state != 'unchanged' else ''}{state}: {printable(path)}" for path, state in states.items()]
    notes = [] if root != Path("/") else _missing(settings, user, run_as)
    following = _following(user, set(states.values())) if not dry_run else []
    facts = {"files": states, "edited": [str(path) for path in edited], "missing": notes, "next": following}
    Output(of(ctx)).show(
        facts,
        *blocks,
        *changes,
        *(f"edited by hand, --force overwrites it: {printable(str(path))}" for path in edited),
        *(f"missing: {note}" for note in notes),
        *(f"next: {command}" for command in following),
    )


def show(
    ctx: typer.Context, user: _UserOption = False, run_as: _RunAsOption = "storaged", _json: JsonOption = False
) -> None:
    """Show what `storagectl systemd install` would write.

    Example: storagectl systemd show --user
    """
    _, texts = _texts(of(ctx), user, run_as)
    placed = {str(_directory(user, Path("/")) / name): text for name, text in texts.items()}
    Output(of(ctx)).show({"files": placed}, "\n".join(f"# {printable(path)}\n{text}" for path, text in placed.items()))


def _texts(options: Options, user: bool, run_as: str) -> tuple[Settings, dict[str, str]]:
    """The configuration, and every file by its name below the manager's directory."""
    from storaged.cli.context import load
    from storaged.daemon.units import DROP_IN, UNIT, Account, drop_in, sealed, unit

    settings = load(options)
    if not re.fullmatch(f"{_NAME}(:{_NAME})?", run_as):
        raise UsageError(f"{run_as!r} cannot be a user", hint="USER, or USER:GROUP")
    owner, _, group = run_as.partition(":")
    account = None if user else Account(owner, group or _group(owner))
    texts = {UNIT: unit(system=not user), DROP_IN: drop_in(settings, _program(), account, os.environ)}
    return settings, {name: sealed(text) for name, text in texts.items()}


def _program() -> Path:
    """The daemon's program beside the Python that runs this. Raises StoragedError where it is not installed."""
    program = Path(sys.executable).parent / "storaged"
    if not os.access(program, os.X_OK):
        raise StoragedError(f"there is no program at {program}", hint="install storaged with pip; a checkout has none")
    return program


def _group(user: str) -> str:
    """The user's own group; the one of the same name for a user that is still to be made."""
    import grp
    import pwd

    try:
        return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:
        return user


def _directory(user: bool, root: Path) -> Path:
    if not user:
        return root / "etc/systemd/system"
    configured = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return root / configured.lstrip("/") / "systemd/user"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoragedError(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    """Whole or not at all: systemd may read at any time."""
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.chmod(0o644)
        new.replace(path)
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        hint = "units of the system are root's to write; --user writes your own"
        raise StoragedError(f"{path} cannot be written: {error.strerror}", hint=hint) from error


def _difference(path: Path, before: str, after: str) -> str:
    from difflib import unified_diff

    lines = unified_diff(before.splitlines(), after.splitlines(), f"{path} (now)", f"{path} (then)", lineterm="")
    return "\n".join(map(printable, lines))


def _missing(settings: Settings, user: bool, run_as: str) -> list[str]:
    """What the service would not start without, or not find."""
    import pwd

    from storaged.daemon.units import STATE, writable
    from storaged.stores.schemes import TERMS

    needed = [path for path in writable(settings) if user or not path.is_relative_to(STATE)]
    found = [f"the directory {printable(str(path))}" for path in needed if not path.is_dir()]
    if not user:
        owner = run_as.partition(":")[0]
        try:
            account = pwd.getpwnam(owner)
        except KeyError:
            found.append(f"the user {owner}; make it: useradd --system --home-dir /var/lib/storaged {owner}")
        else:
            used = (Path(sys.executable).resolve(), settings.file)
            closed = sorted({str(d) for path in used for d in path.parents if not _enters(account, d)})
            found += [f"a way for {owner} into {printable(d)}: program or configuration are below" for d in closed]
    known = {"STORAGED_CATALOG_PASSWORD", "PGPASSWORD"}.union(*(terms.credentials for terms in TERMS.values()))
    unheard = sorted(known & os.environ.keys())
    return found + [f"${name}, which is set here and not in the service" for name in unheard]


def _enters(account: pwd.struct_passwd, directory: Path) -> bool:
    """Whether a user may pass through a directory by its mode; other groups of the user are not looked at."""
    status = directory.stat()
    mine = 0o100 if status.st_uid == account.pw_uid else 0o010 if status.st_gid == account.pw_gid else 0o001
    return account.pw_uid == 0 or bool(status.st_mode & mine)


def _following(user: bool, states: set[str]) -> list[str]:
    if states == {"unchanged"}:
        return []
    manager = "systemctl --user" if user else "systemctl"
    act = "enable --now" if states == {"created"} else "restart"
    lingers = (
        ["loginctl enable-linger, so that it runs while you are not logged in"] if user and act != "restart" else []
    )
    return [f"{manager} daemon-reload && {manager} {act} storaged", *lingers]
