"""A lesson: a model of the past up to a cut, judged on the days after it, and kept if it is better than what there is.

Better is: of a smaller Poisson deviance on the same days than the naive forecasts, and than the model in use. What was
tried is what is kept: it is not learnt anew with the days that it was judged on. Where it is not better, the model in
use is given what has become known meanwhile all the same: since when reads are known without a hole, and which ways to
decide have fared well. Where none is in use that is good enough, that is kept with the new model, whose forecasts no
way trusts (`foretells`): what is remembered of reads needs none.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import models
from storaged.catalog.schema import audit
from storaged.clock import DAY
from storaged.decide.choice.outlook import OLD_MODEL
from storaged.decide.forecast import judge
from storaged.decide.forecast.history import History, ordinary
from storaged.decide.forecast.judge import AHEAD_DAYS, Judgement
from storaged.decide.forecast.learn import learn
from storaged.decide.forecast.model import ForecastModel, from_text, to_text
from storaged.decide.simulate.tariff import Floats
from storaged.errors import ModelUnreadable, RefusedByGuard, UsageError
from storaged.work.context import Context
from storaged.work.learn import trees
from storaged.work.learn.past import read_history
from storaged.work.learn.weights import weights

LEARNT: Final = "learnt"  # the name of a new model among the judgements
HALF_LIVES: Final = (7, 14, 30, 60, 120)  # days that a report compares
_LEAST_DAYS: Final = 2 * AHEAD_DAYS + 7
_RIVALS: Final = 4  # the new model, two naive forecasts, and the model in use
_RENEWED: Final = 30 * DAY
_FORGOTTEN: Final = OLD_MODEL - _RENEWED  # a month before plans would believe no more and let all stay


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was learnt and how good it was. `judgements`: of the new model, of the naive forecasts, of the model in use,
    and what a report adds. `version`: as which it was kept; None: it was not, and `why` says it. `renewed`: as which
    the model in use was kept once more, with what has become known since; `trusted`: whether forecasts of what is in
    use from now on are. Days are since 1970: learnt of those before `cut_day`, judged on those from there to
    `end_day`."""

    model: ForecastModel
    judgements: tuple[Judgement, ...]
    samples: int
    objects: int
    end_day: int
    better: bool
    version: int | None
    renewed: int | None
    trusted: bool
    why: str
    notes: tuple[str, ...]


def give_lesson(
    context: Context, *, days: int | None = None, cut_day: int | None = None, keep: bool = True, report: bool = False
) -> Lesson:
    """Learn of the catalog's last so many days up to a day (since 1970; None: AHEAD_DAYS before the end), judge it on
    the days after, and keep it if it is better. `report`: compare half-lives and trees as well.

    Raises UsageError where there are too few days to learn from or to judge on.
    """
    past = read_history(context.catalog, context.now_us(), days)
    history, half_life = past.history, context.settings.half_life
    end = history.trace.days
    if end < _LEAST_DAYS:
        raise UsageError(
            f"heat sources tell of {end} days of reads, and {_LEAST_DAYS} are the least to learn from and to judge by",
            hint="wait until logs tell of more days; until then nothing is forecast",
        )
    cut = end - AHEAD_DAYS if cut_day is None else cut_day - history.first_day
    if not 0 < cut <= end - AHEAD_DAYS:
        raise UsageError(
            "the cut leaves no days to learn from, or not enough to judge by",
            hint=f"between the first day that logs tell of and {AHEAD_DAYS} days before the last one",
        )
    counts, outliers = ordinary(history, cut)
    model = learn(history, cut, half_life, context.now_us(), counts)
    ahead = judge.held_out(history, cut, half_life, counts)
    if not len(ahead):
        raise UsageError(
            f"no {AHEAD_DAYS} days in a row after the cut have all their reads known, so nothing can be judged",
            hint="choose an earlier --cut, or wait until logs tell of more days",
        )
    notes = list(past.notes)
    if outliers:
        on = "1 day" if outliers == 1 else f"{outliers:,} days"
        notes.append(f"on {on} an object was read so much more than others that it counts as less")
    found = [judge.of_model(LEARNT, model, history.names, ahead), *judge.naive(history, cut, ahead, counts, half_life)]
    used = _in_use(context, notes)
    if used is not None:
        version, before = used
        found.append(judge.of_model(f"version-{version}", before, history.names, ahead))
        if before.cut_day > history.first_day + cut:
            notes.append(f"version {version} learnt from days that both are judged on: it has an advantage")
    model = replace(model, weights=weights(context.settings, history, end, model.horizons, notes))
    better, why = _verdict(found)
    if report:
        found += _half_lives(history, cut, context.now_us(), counts)
        found += trees.judged(history, cut, ahead, half_life, counts, notes)
    kept = renewed = None
    trusts = better or (used is not None and used[1].foretells)
    if keep and better:
        kept = _keep(context, model, found)
    elif keep and days is None and cut_day is None:  # else not all is known that there is
        version, before = (0, replace(model, foretells=False)) if used is None else used
        best = min(found[:_RIVALS], key=lambda one: one.deviance).name == f"version-{version}"
        if not best and before.foretells and model.made_us - before.made_us > _FORGOTTEN:
            before = replace(model, foretells=False)
        if used is not None or before.weights:
            trusts = before.foretells
            renewed = _renew(context, before, model, found, best=best or not before.foretells, new=used is None)
    return Lesson(
        model,
        tuple(found),
        len(ahead),
        past.objects,
        history.first_day + end,
        better,
        kept,
        renewed,
        trusts,
        why,
        tuple(notes),
    )


def choose(context: Context, version: int | None) -> None:
    """Use another version from now on; None: none. Raises UsageError where it is not kept, ModelUnreadable where it
    cannot be read, RefusedByGuard where it is of another half-life than heat."""
    with context.catalog.begin() as conn:
        chosen = next((one for one in models.versions(conn) if one.version == version), None)
        if version is not None:
            if chosen is None:
                raise UsageError(f"no version {version} is kept", hint="`storagectl learn --list` shows those that are")
            from_text(chosen.text, chosen.called)
            if chosen.half_life_us != context.settings.half_life:
                raise RefusedByGuard(
                    f"version {version} is of another half-life than heat is now", hint="`storagectl learn`"
                )
        models.use(conn, version)
        _note(context, conn, "use-model", {"version": version})


def model_in_use(context: Context) -> tuple[int, ForecastModel] | None:
    """The version in use and its model; None: there is none, or it is of another half-life than heat is now.

    Raises ModelUnreadable where it is damaged or newer.
    """
    with context.catalog.read() as conn:
        kept = models.in_use(conn)
    if kept is None or kept.half_life_us != context.settings.half_life:
        return None
    return kept.version, from_text(kept.text, kept.called)


def in_use_or_why(context: Context) -> tuple[tuple[int, ForecastModel] | None, str]:
    """As `model_in_use`; and why nothing is decided by the version in use, empty where all is or there is none."""
    try:
        found = model_in_use(context)
    except ModelUnreadable as error:
        return None, error.message
    if found is not None:
        return found, ""
    with context.catalog.read() as conn:
        other = models.in_use(conn) is not None
    return None, "the version in use is of another half-life than heat is now" if other else ""


def as_facts(judgements: tuple[Judgement, ...]) -> list[dict[str, Any]]:
    """Judgements for JSON."""
    return [dataclasses.asdict(one) for one in judgements]


def _in_use(context: Context, notes: list[str]) -> tuple[int, ForecastModel] | None:
    found, why = in_use_or_why(context)
    if why:
        notes.append(f"{why}: it is not compared")
    return found


def _verdict(found: list[Judgement]) -> tuple[bool, str]:
    mine, *rivals = found
    best = min(rivals, key=lambda one: one.deviance)
    if mine.deviance < best.deviance:
        return True, f"its deviance is {mine.deviance:.4g}, that of {best.name} {best.deviance:.4g}"
    return False, f"{best.name} is as good or better: its deviance is {best.deviance:.4g}, not {mine.deviance:.4g}"


def _half_lives(history: History, cut: int, made_us: int, counts: Floats) -> list[Judgement]:
    found = []
    for days in HALF_LIVES:
        model = learn(history, cut, days * DAY, made_us, counts)
        ahead = judge.held_out(history, cut, days * DAY, counts)
        found.append(judge.of_model(f"half-life-{days}d", model, history.names, ahead))
    return found


def _keep(context: Context, model: ForecastModel, found: list[Judgement]) -> int:
    report = json.dumps(as_facts(tuple(found)), default=float)
    with context.catalog.begin() as conn:
        version = models.keep(
            conn,
            made_us=model.made_us,
            cut_day=model.cut_day,
            half_life_us=model.half_life_us,
            text=to_text(model),
            report=report,
        )
        _note(context, conn, "learn", {"version": version, "cut_day": model.cut_day})
    return version


def _renew(
    context: Context, before: ForecastModel, model: ForecastModel, found: list[Judgement], *, best: bool, new: bool
) -> int | None:
    """Keep the model in use with what has become known. `best`: it is as good as made today; `new`: it is not kept
    yet."""
    made_us = model.made_us if best and model.made_us - before.made_us > _RENEWED else before.made_us
    now = replace(before, made_us=made_us, since=model.since, weights=model.weights)
    return None if now == before and not new else _keep(context, now, found)


def _note(context: Context, conn: sa.Connection, kind: str, detail: dict[str, Any]) -> None:
    row = {"at_us": context.now_us(), "kind": kind, "actor": context.actor, "detail": json.dumps(detail)}
    conn.execute(sa.insert(audit).values(row))
