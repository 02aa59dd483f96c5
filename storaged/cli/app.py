"""The command line as a whole: global options, every command and its place in the help, and the way out."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.exceptions import TyperException

from storaged.cli.errors import EXIT_CODES, guarded
from storaged.cli.options import ACT, KEEP, LOOK, SETUP, JsonOption, Options
from storaged.errors import UsageError
from storaged.version import __version__

# \b keeps the lines of a paragraph as they are.
_EPILOG = "\b\n" + "\n".join(["Exit codes:", *(f"{code:>4}  {meaning}" for code, meaning in EXIT_CODES.items())])


def _version(value: bool) -> None:
    if value:
        typer.echo(f"storaged {__version__}")
        raise typer.Exit


def _globals(
    ctx: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            envvar="STORAGED_CONFIG",
            show_default=False,
            help="storaged.yaml. Left out: the one here, in ~/.config/storaged or in /etc/storaged.",
        ),
    ] = None,
    _json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="No colours. $NO_COLOR does the same.", show_default=False)
    ] = False,
    lock_wait: Annotated[
        float, typer.Option("--lock-wait", metavar="SECONDS", min=0, help="How long to wait for a locked catalog.")
    ] = 30.0,
    _show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    options = ctx.ensure_object(Options)
    options.config = config_file
    options.quiet = quiet
    options.color = not (no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb")
    options.lock_wait_s = lock_wait
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


# Every command in the order of the help: its name, its panel, and the function behind it as module.function.
_COMMANDS: Final = (
    ("status", LOOK, "status.status"),
    ("top", LOOK, "top.top"),
    ("ls", LOOK, "ls.ls"),
    ("cat", LOOK, "cat.cat"),
    ("locate", LOOK, "locate.locate"),
    ("explain", LOOK, "explain.explain"),
    ("advise", LOOK, "advise.advise"),
    ("collections", LOOK, "collections.collections"),
    ("references", LOOK, "references.references"),
    ("removable", LOOK, "removable.removable"),
    ("sql", LOOK, "sql.sql"),
    ("jobs", LOOK, "job.jobs"),
    ("restores", LOOK, "restores.restores"),
    ("suspensions", LOOK, "suspend.suspensions"),
    ("savings", LOOK, "savings.savings"),
    ("forecast", LOOK, "forecast.forecast"),
    ("version", LOOK, "version.version"),
    ("simulate", LOOK, "simulate.simulate"),
    ("evaluate", LOOK, "evaluate.evaluate"),
    ("tune", LOOK, "tune.tune"),
    ("learn", ACT, "learn.learn"),
    ("run", ACT, "daemon.run"),
    ("scan", ACT, "scan.scan"),
    ("ingest", ACT, "ingest.ingest"),
    ("apply", ACT, "apply.apply"),
    ("work", ACT, "work.work"),
    ("restage", ACT, "restage.restage"),
    ("warm", ACT, "warm.warm"),
    ("sweep", ACT, "sweep.sweep"),
    ("suspend", ACT, "suspend.suspend"),
    ("resume", ACT, "suspend.resume"),
    ("undo", KEEP, "undo.undo"),
    ("overwritten", KEEP, "overwritten.overwritten"),
    ("verify", KEEP, "verify.verify"),
    ("doctor", KEEP, "doctor.doctor"),
    ("hold", KEEP, "hold.hold"),
    ("pin", KEEP, "pin.pin"),
    ("unpin", KEEP, "pin.unpin"),
    ("rm", KEEP, "rm.rm"),
    ("eject", KEEP, "eject.eject"),
    ("quickstart", SETUP, "quickstart.quickstart"),
    ("init", SETUP, "init.init"),
)
# Groups: name, panel, what it is about (or the function that it is without a further word), and the commands inside.
_GROUPS: Final[tuple[tuple[str, str, str, dict[str, str]], ...]] = (
    ("cost", LOOK, "cost.cost", {"what-if": "whatif.what_if"}),
    ("plan", ACT, "plan.plan", {"list": "plan.list_", "show": "plan.show", "discard": "plan.discard"}),
    (
        "job",
        ACT,
        "One job: look at it, try it again, stop it.",
        {"show": "job.show", "retry": "job.retry", "cancel": "job.cancel"},
    ),
    (
        "config",
        SETUP,
        "The configuration, storaged.yaml.",
        {"check": "config.check", "show": "config.show", "schema": "config.schema"},
    ),
    (
        "systemd",
        SETUP,
        "The daemon as a service of systemd.",
        {"install": "systemd.install", "show": "systemd.show"},
    ),
    (
        "notify",
        LOOK,
        "Who is told of what: what was told, and a try.",
        {"list": "notify.list_", "test": "notify.try_"},
    ),
    ("tier", KEEP, "The tiers: bring one to another place.", {"move": "tier.move"}),
    (
        "policy",
        SETUP,
        "The policies that plans are made from.",
        {
            "check": "policy.check",
            "list": "policy.list_",
            "show": "policy.show",
            "history": "history.history",
            "schema": "policy.schema",
        },
    ),
    ("lifecycle", SETUP, "Policies as rules of the buckets themselves.", {"export": "lifecycle.export"}),
    (
        "prices",
        SETUP,
        "The price books: what stores charge.",
        {"show": "prices.show", "check": "prices.check"},
    ),
    (
        "catalog",
        SETUP,
        "The catalog: what storaged knows.",
        {
            "create": "catalog.create",
            "upgrade": "catalog.upgrade",
            "info": "catalog.info",
            "claim": "catalog.claim",
            "reconcile": "catalog.reconcile",
            "rebuild": "catalog.rebuild",
            "backup": "backup.backup",
            "backups": "backup.backups",
            "restore": "backup.restore",
            "prune": "backup.prune",
        },
    ),
)
# The options of `_globals`, which may stand before a command: with a value behind them, and without.
_VALUED: Final = frozenset({"--config", "-c", "--lock-wait"})
_FLAGS: Final = frozenset({"--json", "--quiet", "-q", "--no-color"})
NAMES: Final = frozenset((*(name for name, *_ in _COMMANDS), *(name for name, *_ in _GROUPS)))


def build(only: str | None = None) -> typer.Typer:
    """The command line: all of it, or one command or group, so that what is not asked for is not loaded."""
    app = typer.Typer(
        name="storagectl",
        help="Keep every dataset in the cheapest place and form that its readers allow.",
        epilog=_EPILOG,
        invoke_without_command=True,
        context_settings={"help_option_names": ["--help", "-h"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(_globals)
    for name, panel, function in _COMMANDS:
        if only in (None, name):
            app.command(name, rich_help_panel=panel)(_function(function))
    for name, panel, about, commands in _GROUPS:
        if only in (None, name):
            app.add_typer(_group(name, about, commands), rich_help_panel=panel)
    return app


def _group(name: str, about: str, commands: dict[str, str]) -> typer.Typer:
    alone = None if " " in about else _function(about)
    group = typer.Typer(name=name, help=(alone.__doc__ or "") if alone else about)
    for command_name, function in commands.items():
        group.command(command_name)(_function(function))
    if alone:
        group.callback(invoke_without_command=True)(alone)
    return group


def _function(where: str) -> Callable[..., Any]:
    module, _, name = where.partition(".")
    found: Callable[..., Any] = getattr(import_module(f"storaged.cli.{module}"), name)
    return found


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Nothing is raised."""
    options = Options()
    for stream in (sys.stdout, sys.stderr):  # a name that this locale cannot show must not end the command
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def call() -> int:
        try:
            for argument in arguments:
                if not _is_text(argument):
                    raise UsageError(f"the argument {argument!r} is not UTF-8 text")
            code = _command(asked(arguments)).main(
                list(arguments), prog_name="storagectl", standalone_mode=False, obj=options
            )
        except (TyperException, UsageError):
            options.json = options.json or "--json" in arguments  # the mistake may stand before it
            raise
        return code if isinstance(code, int) else 0

    return guarded(call, options)


def asked(arguments: Sequence[str]) -> str | None:
    """The command or group that is asked for, where only options that are known stand before it."""
    left = iter(arguments)
    for argument in left:
        if argument in NAMES:
            return argument
        if argument in _VALUED:
            next(left, None)
        elif argument not in _FLAGS:
            break
    return None


@functools.cache
def _command(only: str | None) -> Any:
    """Made once: of all of them it takes a tenth of a second, and a process may run many command lines."""
    return typer.main.get_command(build(only))


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
