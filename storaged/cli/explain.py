"""explain: why an object moves, or stays."""

from __future__ import annotations

import dataclasses

import typer

from storaged.cli.options import JsonOption, ObjectArgument, of
from storaged.cli.policy import load_and_warn
from storaged.cli.render import Output, printable, when
from storaged.errors import UsageError


def explain(ctx: typer.Context, target: ObjectArgument, _json: JsonOption = False) -> None:
    """Say what each policy makes of an object, condition by condition, and which one decides.

    The name of a collection stands for all of it.

    Example: storagectl explain flights/2026/01.csv
    """
    from storaged.cli.context import opened
    from storaged.work import targets
    from storaged.work.plan.configured import take_in
    from storaged.work.plan.explain import explain as run_explain
    from storaged.work.plan.explain import meant
    from storaged.work.plan.sample import refusals, sample_auto
    from storaged.work.scan.partitions import format_of

    out = Output(of(ctx))
    with opened(of(ctx)) as context:
        dataset, name = targets.split(context, target)
        if name is None:
            raise UsageError(f"{target!r} is a dataset; name one object of it", hint=f"{dataset}/OBJECT")
        policies = load_and_warn(out, context.settings)
        take_in(context)
        with context.catalog.read() as conn:
            _, part = meant(conn, dataset, name)
        samples = sample_auto(context, policies, only=(dataset, format_of(part)))
        refused = refusals(context, policies, dataset, part)
        given = context.catalog, context.settings, policies, dataset, name, context.now_us()
        found = run_explain(*given, choices=samples.choices, refused=refused)
    facts = dataclasses.asdict(found)
    if (part_of := facts["subject"]["part_of"]) is not None:
        for what in ("last_written", "last_read"):
            at = part_of.pop(f"{what}_us")
            part_of[f"{what}_at"] = None if at is None else when(at)
    for policy, told in zip(facts["policies"], found.policies, strict=True):
        policy["money"] = told.money.as_json() if told.money else None
        policy["choice"] = told.choice.as_json() if told.choice else None
        for condition in policy["conditions"]:
            at = condition.pop("holds_from_us")
            condition["holds_from"] = None if at is None else when(at)
    out.show(facts, *map(printable, found.lines()))
