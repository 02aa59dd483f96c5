"""config: storaged.yaml, checked and shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, Table, count, pairs, printable, size

if TYPE_CHECKING:
    from storaged.config.settings import Settings


def check(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Say everything that is wrong with storaged.yaml and the policies, by file and line.

    Example: storagectl config check
    """
    from storaged.cli.context import load
    from storaged.cli.policy import load_and_warn
    from storaged.config.exposure import MEND, exposed
    from storaged.prices.load import load_prices
    from storaged.prices.tiers import tier_prices

    out = Output(of(ctx))
    settings = load(of(ctx), look=True)
    tier_prices(settings, load_prices(settings.price_books))
    policies = load_and_warn(out, settings)
    open_to_all = [place.says for place in exposed(settings)]
    for says in open_to_all:
        out.warn(f"{says} (hint: {MEND})")
    counts = {"tiers": len(settings.tiers), "datasets": len(settings.datasets), "policies": len(policies)}
    words = f"{count(len(settings.tiers), 'tier')}, {count(len(settings.datasets), 'dataset')}, "
    words += count(len(policies), "policy", "policies")
    out.show(
        {"file": str(settings.file), **counts, "open_to_all": open_to_all},
        f"{printable(str(settings.file))}: good ({words})",
    )


def show(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Show the configuration as it is understood, defaults filled in. JSON: durations in microseconds, sizes in bytes.

    Example: storagectl config show --json
    """
    from storaged.cli.context import load

    settings = load(of(ctx))
    facts = {"file": str(settings.file), **settings.model_dump(mode="json")}
    heat: list[str | Table] = ["", _heat(settings)] if settings.heat else []
    Output(of(ctx)).show(facts, _general(settings), "", _tiers(settings), "", _datasets(settings), *heat)


def schema(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Print the JSON Schema of storaged.yaml, for editors.

    Example: storagectl config schema > storaged.schema.json
    """
    from storaged.config.settings import settings_schema

    found = settings_schema()
    Output(of(ctx)).show(found, json.dumps(found, indent=2))


def _general(settings: Settings) -> Table:
    from storaged.config.quantities import format_duration

    return pairs(
        (
            ("file", str(settings.file)),
            ("catalog", settings.catalog),
            ("state directory", str(settings.state_dir)),
            ("policies", str(settings.policies)),
            ("quiet for", format_duration(settings.quiet_for)),
            ("grace", format_duration(settings.grace)),
            ("late put window", format_duration(settings.late_put_window)),
            ("half-life of heat", format_duration(settings.half_life)),
            ("worker threads", settings.workers.threads),
            ("lease", format_duration(settings.workers.lease)),
        )
    )


def _tiers(settings: Settings) -> Table:
    tiers = sorted(settings.tiers.items(), key=lambda item: item[1].rank)
    return Table(
        ("tier", "rank", "url", "class", "capacity"),
        [(n, t.rank, t.url, t.storage_class, size(t.capacity.size) if t.capacity else None) for n, t in tiers],
        frozenset({"capacity"}),
        paths=frozenset({"url"}),
    )


def _datasets(settings: Settings) -> Table:
    return Table(
        ("dataset", "root", "tier", "readers", "owner", "pin", "hold"),
        [(n, d.root, d.tier, d.readers.value, d.owner, d.pin, d.hold) for n, d in settings.datasets.items()],
        paths=frozenset({"root"}),
        prose="hold",
    )


def _heat(settings: Settings) -> Table:
    from storaged.config.quantities import format_duration

    return Table(
        ("log", "format", "path", "lag"),
        [(s.name, s.format, s.path, format_duration(s.lag) if s.lag else None) for s in settings.heat],
        paths=frozenset({"path"}),
    )
