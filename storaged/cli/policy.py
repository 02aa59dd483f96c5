"""policy: the rules that plans are made from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from storaged.cli.options import JsonOption, Options, PolicyArgument, of
from storaged.cli.render import Output, Verbatim, count, printable
from storaged.cli.table import Table
from storaged.errors import StoragedError, UsageError

if TYPE_CHECKING:
    from storaged.config.settings import Settings
    from storaged.decide.policy import PolicySet
    from storaged.errors import Problem


def load_and_warn(out: Output, settings: Settings) -> PolicySet:
    """Every policy. What looks odd about them is told; what is wrong raises ConfigError."""
    from storaged.decide.load import load_policies

    policies = load_policies(settings.policies, settings)
    for problem in policies.warnings:
        out.warn(str(problem))
    return policies


def check(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Say everything that is wrong with the policies, by file and line, and what they name that no object has.

    Example: storagectl policy check
    """
    from storaged.cli.context import load

    out = Output(of(ctx))
    settings = load(of(ctx))
    policies = load_and_warn(out, settings)
    odd, not_compared = _compared(of(ctx), settings, policies)
    for problem in odd:
        out.warn(str(problem))
    if not_compared is not None:
        out.note(f"not compared with what the catalog has: {not_compared}")
    warnings = [
        {"file": w.file, "line": w.line, "message": w.message, "hint": w.hint} for w in (*policies.warnings, *odd)
    ]
    words = f"good ({count(len(policies), 'policy', 'policies')})"
    facts = {"policies": [p.name for p in policies], "warnings": warnings, "not_compared": not_compared}
    out.show(facts, words)


def _compared(options: Options, settings: Settings, policies: PolicySet) -> tuple[list[Problem], str | None]:
    """What the policies name and no object of the catalog has, or why that cannot be told."""
    from storaged.catalog.engine import open_catalog
    from storaged.cli.context import place
    from storaged.decide.known import unmatched
    from storaged.work.plan.known import known_datasets

    try:
        with open_catalog(place(settings), read_only=True, wait_s=options.lock_wait_s) as catalog:
            return list(unmatched(policies, known_datasets(catalog, policies), settings.datasets)), None
    except StoragedError as error:
        return [], f"{error} ({error.hint})" if error.hint else str(error)


def list_(ctx: typer.Context, _json: JsonOption = False) -> None:
    """List the policies in the order in which they are tried.

    Example: storagectl policy list
    """
    from storaged.cli.context import load
    from storaged.decide.sentence import sentence

    out = Output(of(ctx))
    policies = load_and_warn(out, load(of(ctx)))
    facts = [
        {
            "policy": p.name,
            "mode": p.policy.mode.value,
            "sentence": sentence(p.policy),
            "schedule": p.policy.schedule,
            "file": p.file,
            "line": p.line,
            "sha256": p.digest,
        }
        for p in policies
    ]
    rows = [
        (p.name, p.policy.mode.value, p.policy.schedule, f"{p.file}:{p.line}", sentence(p.policy)) for p in policies
    ]
    columns = ("policy", "mode", "schedule (UTC)", "file", "what")
    out.show({"policies": facts}, Table(columns, rows, paths=frozenset({"file"}), prose="what"))


def show(ctx: typer.Context, name: PolicyArgument, _json: JsonOption = False) -> None:
    """Show one policy as it is written.

    Example: storagectl policy show cool-idle-logs
    """
    from storaged.cli.context import load
    from storaged.config.messages import did_you_mean

    out = Output(of(ctx))
    policies = load_and_warn(out, load(of(ctx)))
    found = next((p for p in policies if p.name == name), None)
    if found is None:
        raise UsageError(f"there is no policy {name!r}", hint=did_you_mean(name, [p.name for p in policies]))
    facts = {
        "policy": found.name,
        "file": found.file,
        "line": found.line,
        "sha256": found.digest,
        "text": found.text,
    }
    lines = Verbatim("\n".join(printable(line) for line in found.text.rstrip("\n").split("\n")))
    out.show(facts, f"# {printable(found.file)}:{found.line}", lines)


def schema(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Print the JSON Schema of a policy file, for editors.

    Example: storagectl policy schema > policy.schema.json
    """
    from storaged.decide.policy import policy_schema

    found = policy_schema()
    Output(of(ctx)).show(found, Verbatim(json.dumps(found, indent=2)))
