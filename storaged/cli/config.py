"""config: storaged.yaml, checked and shown."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from storaged.cli.options import JsonOption, Options, of
from storaged.cli.render import Output, count, pairs, printable, size
from storaged.cli.table import Table
from storaged.errors import ConfigError, Problem, StoragedError
from storaged.naming import OWN

if TYPE_CHECKING:
    from storaged.config.settings import Settings
    from storaged.decide.policy import PolicySet


def check(
    ctx: typer.Context,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no bucket and no Postgres.")] = False,
    _json: JsonOption = False,
) -> None:
    """Say everything that is wrong with storaged.yaml, its places and the policies, all at once, by file and line.

    Example: storagectl config check
    """
    from storaged.config.exposure import MEND, exposed

    out = Output(of(ctx))
    settings, policies = _whole(of(ctx), offline=offline)
    for problem in policies.warnings:
        out.warn(str(problem))
    open_to_all = [place.says for place in exposed(settings)]
    for says in open_to_all:
        out.warn(f"{says} (hint: {MEND})")
    counts = {"tiers": len(settings.tiers), "datasets": len(settings.datasets), "policies": len(policies)}
    words = f"{count(len(settings.tiers), 'tier')}, {count(len(settings.datasets), 'dataset')}, "
    words += count(len(policies), "policy", "policies")
    fresh = _without_our_folder(settings)
    lines = [f"{printable(str(settings.file))}: good ({words})"]
    if fresh:
        lines.append(
            f"a folder `{OWN}` will be written into the root of {', '.join(fresh)}: programs that take every folder "
            "for something, as image loaders take them for classes, see it (`claim: attribute` in the dataset "
            "keeps it out)"
        )
    out.show({"file": str(settings.file), **counts, "open_to_all": open_to_all, "unwritten": fresh}, *lines)


def _without_our_folder(settings: Settings) -> list[str]:
    """Datasets in directories where storaged has written nothing yet."""
    from storaged.work.context import local_path

    roots = {name: local_path(dataset.root) for name, dataset in settings.datasets.items()}
    return [
        name
        for name, root in roots.items()
        if root is not None and settings.datasets[name].claim == "file" and not os.path.lexists(root / OWN)
    ]


def _whole(options: Options, *, offline: bool) -> tuple[Settings, PolicySet]:
    """Configuration, prices, policies, buckets and catalog. Raises ConfigError with what is wrong with any of them."""
    from storaged.config.settings import find_config, load_settings, what_holds
    from storaged.decide.load import load_policies
    from storaged.decide.policy import PolicySet
    from storaged.prices.load import load_prices
    from storaged.prices.tiers import tier_prices

    path = find_config(options.config, os.environ)
    problems: list[Problem] = []
    policies = PolicySet((), ())
    try:
        settings: Settings | None = load_settings(path, look=True)
    except ConfigError as error:
        problems += error.problems
        settings = what_holds(path)
    if settings is not None:
        try:
            tier_prices(settings, load_prices(settings.price_books))
        except ConfigError as error:
            problems += error.problems
        try:
            policies = load_policies(settings.policies, settings)
        except ConfigError as error:
            problems += error.problems
        problems += () if offline else (*_buckets(settings), *_catalog(settings))
    if problems or settings is None:
        ours = str(path)
        same = {replace(p, file=ours) if os.path.abspath(p.file) == os.path.abspath(ours) else p for p in problems}
        raise ConfigError(tuple(sorted(same, key=lambda p: (p.file != ours, p.file, p.line, p.path))))
    return settings, policies


def _buckets(settings: Settings) -> Iterator[Problem]:
    """Tiers and roots in buckets that do not answer, or not to us."""
    from storaged.config.messages import path_text
    from storaged.config.yaml import read_document
    from storaged.stores.registry import open_store
    from storaged.stores.schemes import terms_of

    urls = {("tiers", name, "url"): tier.url for name, tier in settings.tiers.items()}
    urls |= {("datasets", name, "root"): dataset.root for name, dataset in settings.datasets.items()}
    document = read_document(settings.file)
    for path, url in urls.items():
        if not terms_of(url).remote:
            continue
        try:
            next(iter(open_store(url, settings.opening(url)).list()), None)
        except StoragedError as error:
            yield Problem(document.file, document.line(path), path_text(path), error.message, error.hint)


def _catalog(settings: Settings) -> Iterator[Problem]:
    """A Postgres that does not answer, or not to us. One where no catalog was made yet is nothing wrong."""
    from storaged.catalog.engine import open_catalog
    from storaged.config.yaml import read_document
    from storaged.errors import CatalogError, CatalogMissing, SchemaOutOfDate

    if settings.catalog.startswith("sqlite"):
        return
    try:
        open_catalog(settings.catalog, read_only=True).close()
    except (CatalogMissing, SchemaOutOfDate):
        return
    except CatalogError as error:
        document = read_document(settings.file)
        yield Problem(document.file, document.line(("catalog",)), "catalog", error.message, error.hint)


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
