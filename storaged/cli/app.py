"""The command line as a whole: global options, every command and its place in the help, and the way out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from storaged import __version__
from storaged.cli import (
    apply,
    backup,
    cat,
    catalog,
    config,
    cost,
    daemon,
    doctor,
    eject,
    explain,
    history,
    hold,
    ingest,
    init,
    job,
    locate,
    ls,
    pin,
    plan,
    policy,
    prices,
    restage,
    restores,
    rm,
    savings,
    scan,
    simulate,
    sql,
    status,
    suspend,
    sweep,
    systemd,
    top,
    undo,
    verify,
    version,
    warm,
    whatif,
    work,
)
from storaged.cli.errors import EXIT_CODES, guarded
from storaged.cli.options import ACT, KEEP, LOOK, SETUP, JsonOption, Options
from storaged.errors import UsageError

# \b keeps the lines of a paragraph as they are.
_EPILOG = "\b\n" + "\n".join(["Exit codes:", *(f"{code:>4}  {meaning}" for code, meaning in EXIT_CODES.items())])

app = typer.Typer(
    name="storagectl",
    help="Keep every dataset in the cheapest place and form that its readers allow.",
    epilog=_EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"storaged {__version__}")
        raise typer.Exit


@app.callback()
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
    options.color = not (no_color or os.environ.get("NO_COLOR"))
    options.lock_wait_s = lock_wait
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _group(name: str, panel: str, about: str, commands: dict[str, Callable[..., Any]]) -> typer.Typer:
    group = typer.Typer(name=name, help=about)
    for command_name, function in commands.items():
        group.command(command_name)(function)
    app.add_typer(group, rich_help_panel=panel)
    return group


def _command(name: str, panel: str, function: Callable[..., Any]) -> None:
    app.command(name, rich_help_panel=panel)(function)


_command("status", LOOK, status.status)
_command("top", LOOK, top.top)
_command("ls", LOOK, ls.ls)
_command("cat", LOOK, cat.cat)
_command("locate", LOOK, locate.locate)
_command("explain", LOOK, explain.explain)
_command("sql", LOOK, sql.sql)
_command("jobs", LOOK, job.jobs)
_command("restores", LOOK, restores.restores)
_command("suspensions", LOOK, suspend.suspensions)
_command("savings", LOOK, savings.savings)
_command("version", LOOK, version.version)

_command("simulate", LOOK, simulate.simulate)
_cost = _group("cost", LOOK, cost.cost.__doc__ or "", {"what-if": whatif.what_if})
_cost.callback(invoke_without_command=True)(cost.cost)

_command("run", ACT, daemon.run)
_command("scan", ACT, scan.scan)
_command("ingest", ACT, ingest.ingest)
_plan = _group(
    "plan",
    ACT,
    plan.plan.__doc__ or "",
    {"list": plan.list_, "show": plan.show, "discard": plan.discard},
)
_plan.callback(invoke_without_command=True)(plan.plan)
_command("apply", ACT, apply.apply)
_command("work", ACT, work.work)
_command("restage", ACT, restage.restage)
_command("warm", ACT, warm.warm)
_command("sweep", ACT, sweep.sweep)
_command("suspend", ACT, suspend.suspend)
_command("resume", ACT, suspend.resume)
_group(
    "job",
    ACT,
    "One job: look at it, try it again, stop it.",
    {"show": job.show, "retry": job.retry, "cancel": job.cancel},
)

_command("undo", KEEP, undo.undo)
_command("verify", KEEP, verify.verify)
_command("doctor", KEEP, doctor.doctor)
_command("hold", KEEP, hold.hold)
_command("pin", KEEP, pin.pin)
_command("unpin", KEEP, pin.unpin)
_command("rm", KEEP, rm.rm)
_command("eject", KEEP, eject.eject)

_command("init", SETUP, init.init)
_group(
    "config",
    SETUP,
    "The configuration, storaged.yaml.",
    {"check": config.check, "show": config.show, "schema": config.schema},
)
_group(
    "systemd",
    SETUP,
    "The daemon as a service of systemd.",
    {"install": systemd.install, "show": systemd.show},
)
_group(
    "policy",
    SETUP,
    "The policies that plans are made from.",
    {
        "check": policy.check,
        "list": policy.list_,
        "show": policy.show,
        "history": history.history,
        "schema": policy.schema,
    },
)
_group(
    "prices",
    SETUP,
    "The price books: what stores charge.",
    {"show": prices.show, "check": prices.check},
)
_group(
    "catalog",
    SETUP,
    "The catalog: what storaged knows.",
    {
        "create": catalog.create,
        "upgrade": catalog.upgrade,
        "info": catalog.info,
        "claim": catalog.claim,
        "reconcile": catalog.reconcile,
        "rebuild": catalog.rebuild,
        "backup": backup.backup,
        "backups": backup.backups,
        "restore": backup.restore,
        "prune": backup.prune,
    },
)


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
            code = typer.main.get_command(app).main(
                list(arguments), prog_name="storagectl", standalone_mode=False, obj=options
            )
        except (TyperException, UsageError):
            options.json = options.json or "--json" in arguments  # the mistake may stand before it
            raise
        return code if isinstance(code, int) else 0

    return guarded(call, options)


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
