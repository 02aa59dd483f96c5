"""lifecycle: a policy as the rules that a bucket itself can follow."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from storaged.cli.options import JsonOption, PolicyArgument, of
from storaged.cli.policy import load_and_warn
from storaged.cli.render import Output, Verbatim
from storaged.errors import ConfigError, UsageError


def export(
    ctx: typer.Context,
    name: PolicyArgument,
    bucket: Annotated[
        str | None,
        typer.Option("--bucket", metavar="BUCKET", show_default=False, help="Of which bucket, where it is of several."),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Print a policy as S3 lifecycle rules, and on stderr what of it they do not say.

    Only a policy that changes storage classes in place, by age and size, can become rules; where rules would move what
    the policy would not, it is refused by line. What is printed is what put-bucket-lifecycle-configuration takes. That
    replaces all rules that a bucket has. Nothing is changed here.

    Example: storagectl lifecycle export cool-by-age > rules.json
    """
    from storaged.cli.context import opened
    from storaged.config.messages import did_you_mean
    from storaged.decide.lifecycle import lifecycle, looked_at, refusals
    from storaged.work.plan.lifecycle import root_facts

    out = Output(of(ctx))
    with opened(of(ctx)) as context:
        settings = context.settings
        policies = load_and_warn(out, settings)
        found = next((p for p in policies if p.name == name), None)
        if found is None:
            raise UsageError(f"there is no policy {name!r}", hint=did_you_mean(name, [p.name for p in policies]))
        facts = root_facts(context.catalog, looked_at(found, settings), str(found.policy.to.tier), context.now_us())
    problems = tuple(refusals(found, settings, facts))
    if problems:
        raise ConfigError(problems, hint="leave this policy to storaged")
    made = lifecycle(found, settings, facts)
    if bucket is None and len(made.rules) > 1:
        raise UsageError(f"its datasets are in {', '.join(sorted(made.rules))}", hint="name one of them with --bucket")
    chosen = bucket if bucket is not None else next(iter(made.rules))
    if chosen not in made.rules:
        raise UsageError(f"none of its datasets is in the bucket {chosen}", hint=did_you_mean(chosen, made.rules))
    configuration = {"Rules": made.rules[chosen]}
    for words in made.unsaid:
        out.note(f"not said: {words}")
    out.note(f"{chosen}: put-bucket-lifecycle-configuration replaces all rules of the bucket; add those that it has")
    told = {"bucket": chosen, "configuration": configuration, "not_said": list(made.unsaid)}
    out.show(told, Verbatim(json.dumps(configuration, indent=2)))
