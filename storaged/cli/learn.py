"""learn: forecasts from the catalog's own past, tried on days that they were not learnt from."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import DryRunOption, JsonOption, Options, of
from storaged.cli.render import Output, count, when
from storaged.cli.table import Table
from storaged.clock import DAY
from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.decide.forecast.judge import Judgement
    from storaged.work.learn.lesson import Lesson

_NONE = "none"
_FORECASTS = ("forecast", "deviance", "error of log1p", "forecast / read", "within 2 sd")
_VERSIONS = ("version", "made", "learnt up to", "half-life", "deviance", "in use")


def learn(
    ctx: typer.Context,
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="DAYS",
            show_default=False,
            help="Only the last so many days, such as 400d. Left out: all that logs tell of, at most 730 days.",
        ),
    ] = None,
    cut: Annotated[
        str | None,
        typer.Option(
            "--cut",
            metavar="DATE",
            show_default=False,
            help="Learn of the days before this one, UTC, and judge on the others. Left out: 30 days before the end.",
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Compare half-lives and trees too, and show forecasts by tenths.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", show_default=False, help="Draw the report: .svg or .png."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the versions that are kept, and do nothing.")] = False,
    use: Annotated[
        str | None,
        typer.Option(
            "--use",
            metavar="VERSION",
            show_default=False,
            help="Use this version from now on, or `none`; learn nothing.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    _json: JsonOption = False,
) -> None:
    """Learn how often objects will be read from how often they were, and judge that on days it was not learnt from.

    The new model is kept as a version, and used, only if it is better on these days than the one in use, than last
    month's reads, and than the mean of objects of the same age. docs/forecast.md tells how it is made.

    Example: storagectl learn --report

    Example: storagectl learn --dry-run --cut 2026-10-01

    Example: storagectl learn --use 3
    """
    options = of(ctx)
    if list_ or use is not None:
        if history or cut or dry_run or report or plot or (list_ and use is not None):
            raise UsageError("--list and --use stand alone", hint="storagectl learn --list")
        _choose(options, use)
        return
    from storaged.cli import plots
    from storaged.cli.context import opened
    from storaged.work.learn.lesson import give_lesson

    if plot is not None:
        plots.require_drawable(plot)
    days, cut_day = _days(history), _day(cut)
    with opened(options) as context:
        lesson = give_lesson(context, days=days, cut_day=cut_day, keep=not dry_run, report=report or plot is not None)
    if plot is not None:
        plots.calibration(
            plot,
            "Reads in 30 days, by tenths of the forecasts",
            [(one.name, _points(one)) for one in lesson.judgements],
        )
    out = Output(options)
    out.show(_facts(lesson), *_told(lesson, deciles=report, tried=dry_run))
    for note in lesson.notes:
        out.note(note)


def _days(history: str | None) -> int | None:
    from storaged.cli.simulate_input import days_of

    return None if history is None else days_of("--history", history)


def _day(cut: str | None) -> int | None:
    if cut is None:
        return None
    try:
        return (dt.date.fromisoformat(cut) - dt.date(1970, 1, 1)).days
    except ValueError as error:
        raise UsageError(f"--cut {cut} is no date", hint="such as 2026-10-01") from error


def _date(day: int) -> str:
    return when(day * DAY)[:10]


def _points(one: Judgement) -> list[tuple[float, float]]:
    return [(decile.forecast, decile.reads) for decile in one.deciles]


def _told(lesson: Lesson, *, deciles: bool, tried: bool) -> list[str | Table]:
    rows = [
        (
            one.name,
            f"{one.deviance:.4g}",
            f"{one.squared_log:.4g}",
            "" if one.bias is None else f"{one.bias:.3g}",
            "" if one.inside is None else f"{one.inside:.1%}",
        )
        for one in lesson.judgements
    ]
    cut = _date(lesson.model.cut_day)
    found: list[str | Table] = [
        f"learnt of {_date(lesson.model.first_day)} to {cut}, judged on {cut} to {_date(lesson.end_day)}: "
        f"{count(lesson.samples, 'forecast')} of 30 days, of {count(lesson.objects, 'object')}",
        "",
        Table(_FORECASTS, rows, frozenset(_FORECASTS[1:])),
    ]
    if deciles:
        found += ["", "reads in 30 days, by tenths of the forecasts:", _deciles(lesson)]
    return [*found, "", _verdict(lesson, tried)]


def _deciles(lesson: Lesson) -> Table:
    mine = lesson.judgements[0]
    rows = [(n, d.samples, f"{d.forecast:.4g}", f"{d.reads:.4g}") for n, d in enumerate(mine.deciles, 1)]
    return Table(("tenth", "forecasts", "forecast", "read"), rows)


def _verdict(lesson: Lesson, tried: bool) -> str:
    if lesson.version is not None:
        return f"kept as version {lesson.version}, in use from now on: {lesson.why}"
    if lesson.better and tried:
        return f"it would be kept: {lesson.why}"
    if lesson.renewed is not None and not lesson.trusted:
        return (
            f"no forecast is trusted: {lesson.why}. What ways to decide have earned is kept as version {lesson.renewed}"
        )
    if lesson.renewed is not None:
        return (
            f"not kept: {lesson.why}. What was in use has what is known now of holes in logs and of how ways to decide "
            f"have fared, as version {lesson.renewed}"
        )
    return f"not kept, and what was in use stays so: {lesson.why}"


def _facts(lesson: Lesson) -> dict[str, Any]:
    from storaged.decide.forecast.model import EVERY
    from storaged.work.learn.lesson import as_facts

    return {
        "first_day": _date(lesson.model.first_day),
        "cut": _date(lesson.model.cut_day),
        "end": _date(lesson.end_day),
        "horizons": list(lesson.model.horizons),
        "objects": lesson.objects,
        "samples": lesson.samples,
        "forecasts": as_facts(lesson.judgements),
        "weights": [
            {"dataset": name, "ways": [{"way": way, "weight": weight} for way, weight in shares.items()]}
            for name, shares in lesson.model.weights.items()
            if name != EVERY
        ],
        "better": lesson.better,
        "version": lesson.version,
        "renewed": lesson.renewed,
        "why": lesson.why,
        "notes": list(lesson.notes),
    }


def _choose(options: Options, use: str | None) -> None:
    from storaged.catalog import models
    from storaged.cli.context import opened
    from storaged.work.learn.lesson import choose, in_use_or_why

    version = None
    if use is not None and use != _NONE:
        if not use.isascii() or not use.isdigit() or len(use) > 9:
            raise UsageError(f"--use {use} is no version", hint="a number that --list shows, or none")
        version = int(use)
    with opened(options) as context:
        if use is not None:
            choose(context, version)
        with context.catalog.read() as conn:
            kept = models.versions(conn)
        _, why = in_use_or_why(context)
    rows = [
        (
            one.version,
            when(one.made_us),
            _date(one.cut_day),
            f"{one.half_life_us / DAY:g}d",
            f"{_deviance(one.report):.4g}",
            "yes" if one.in_use else "",
        )
        for one in kept
    ]
    facts = [
        {
            "version": one.version,
            "made": when(one.made_us),
            "cut": _date(one.cut_day),
            "half_life_days": one.half_life_us / DAY,
            "in_use": one.in_use,
            "forecasts": json.loads(one.report),
        }
        for one in kept
    ]
    used = next((one.version for one in kept if one.in_use), None)
    words = "no version is in use: nothing is forecast" if used is None else f"version {used} is in use"
    table: list[str | Table] = [Table(_VERSIONS, rows), ""] if rows else []
    out = Output(options)
    out.show({"versions": facts}, *table, words)
    if why:
        out.warn(f"{why}: nothing is decided by it, and `storagectl learn` makes another one")


def _deviance(report: str) -> float:
    return float(json.loads(report)[0]["deviance"])
