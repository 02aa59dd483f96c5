"""run: the daemon itself."""

from __future__ import annotations

import os
import sys
from random import SystemRandom
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from storaged.cli.options import JsonOption, of
from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.config.settings import Settings
    from storaged.decide.policy import PolicySet


ARENAS: Final = 2


def run(
    ctx: typer.Context,
    log: Annotated[
        Literal["auto", "text", "journal", "json"] | None,
        typer.Option("--log", help="How it logs. Left out: as `daemon.log` says.", show_default=False),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option("--log-level", help="The least that is logged.")
    ] = "info",
    _json: JsonOption = False,
) -> None:
    """Run the daemon until it is told to stop; `storaged run` is the same. With --json it logs JSON.

    SIGHUP loads the configuration anew, SIGTERM waits for what runs and ends, a second one does not wait.

    Example: storagectl run --log-level warning
    """
    from storaged.catalog.engine import open_catalog
    from storaged.cli.context import load, place
    from storaged.clock import SystemClock
    from storaged.daemon.alone import alone
    from storaged.daemon.core import Core
    from storaged.daemon.events import to_all
    from storaged.daemon.logs import configure
    from storaged.daemon.memory import free_at_once
    from storaged.daemon.metrics import Meters
    from storaged.daemon.notify import Notifier
    from storaged.daemon.service import Service
    from storaged.daemon.teller import Teller
    from storaged.decide.load import load_policies

    options = of(ctx)

    def loaded() -> tuple[Settings, PolicySet]:
        settings = load(options)
        return settings, load_policies(settings.policies, settings)

    settings, _ = loaded()
    clock = SystemClock()
    form = "json" if options.json else log or settings.daemon.log
    logger = configure(form, sys.stderr, log_level, clock, os.environ)
    meters = Meters()
    free_at_once(arenas=ARENAS)
    with alone(settings), open_catalog(place(settings), wait_s=options.lock_wait_s) as catalog:
        tell = to_all(Teller(logger).hear, meters.hear)
        core = Core(loaded, catalog, clock, tell=tell, chance=SystemRandom())
        token, approvers = _token(settings), _approvers(settings)
        service = Service(core, meters, Notifier(os.environ), token=token, approvers=approvers)
        service.run()
    if service.left_behind:  # threads that did not notice: Python would wait for them
        os._exit(0)


def _token(settings: Settings) -> str | None:
    """What clients of the pages must show: $STORAGED_DAEMON_TOKEN or what else holds such a secret (see
    storaged.config.secrets), then the file of the configuration."""
    from storaged.config.secrets import secret
    from storaged.daemon.web import read_token

    if passed := secret("DAEMON_TOKEN", os.environ):
        return passed.get_secret_value().strip()
    named = settings.daemon.token_file
    return None if named is None else read_token(named)


def _approvers(settings: Settings) -> dict[str, str]:
    """The token of everybody who may approve plans. Raises UsageError for one that has none, or a bad one."""
    from storaged.config.secrets import secret
    from storaged.daemon.approving import LEAST
    from storaged.daemon.web import read_token

    found: dict[str, str] = {}
    for one in settings.daemon.approvers:
        passed = secret(one.secret_name, os.environ)
        if passed is not None:
            token = passed.get_secret_value().strip()
        elif one.token_file is not None:
            token = read_token(one.token_file, "daemon.approvers")
        else:
            hint = f"set `token_file`, or $STORAGED_{one.secret_name}"
            raise UsageError(f"the approver {one.name} has no token", hint=hint)
        if len(token) < LEAST or not token.isascii() or not token.isprintable():
            hint = f"at least {LEAST} characters of ASCII: `openssl rand -hex 32` makes a good one"
            raise UsageError(f"the token of the approver {one.name} is none", hint=hint)
        if token in found.values() or token == _token(settings):
            raise UsageError(f"the approver {one.name} has somebody else's token", hint="each needs one of their own")
        found[one.name] = token
    return found
