"""tune: thresholds of a policy searched on some days of the past, and judged on the others."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from storaged.cli.evaluate import AS_THEY_WERE
from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, count
from storaged.cli.simulate_options import (
    HistoryOption,
    RatioOption,
    SampleOption,
    TiersOption,
    TraceOption,
    asked,
    opening,
)
from storaged.cli.table import Table
from storaged.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from storaged.cli.simulate_input import SimulationInput
    from storaged.decide.simulate.rules import RuleSet
    from storaged.decide.simulate.run import SimulatedOutcome
    from storaged.decide.simulate.trace import Trace
    from storaged.decide.simulate.tune import Setting, Threshold, Tuned

_SETTINGS: Final = 200
_TWO_THIRDS: Final = (2, 3)
_DOLLARS: Final = "only dollars are searched for: what readers bear is for `require`, and for you, to say"


def tune(
    ctx: typer.Context,
    policy: Annotated[Path, typer.Argument(metavar="POLICY", show_default=False, help="A policy file.")],
    tiers: TiersOption = None,
    trace: TraceOption = None,
    history: HistoryOption = None,
    tune_on: Annotated[
        str | None,
        typer.Option(
            "--tune-on",
            metavar="DAYS",
            show_default=False,
            help="The first so many days are searched; those after them judge. Left out: two thirds.",
        ),
    ] = None,
    settings: Annotated[
        int, typer.Option("--settings", metavar="N", min=2, help="How many settings are tried at most.")
    ] = _SETTINGS,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", show_default=False, help="Write the diff here instead."),
    ] = None,
    ratio: RatioOption = None,
    sample: SampleOption = True,
    _json: JsonOption = False,
) -> None:
    """Search a policy's thresholds on your past, judge them on days after it, and print a diff. Changes no file.

    Where the held-out days say that nothing is gained, it says so and there is no diff. docs/simulate.md has the rules.

    Example: storagectl tune cool.yaml --history 180d | patch -p0
    """
    from storaged.cli import simulate_output
    from storaged.cli.progress import progress
    from storaged.decide.simulate import tune as searching

    options = of(ctx)
    if output is not None and output.resolve() == policy.resolve():
        raise UsageError(f"{output} is the policy itself", hint="the diff wants a file of its own; `patch` applies it")
    past = asked(options, tiers, trace, history, [policy], ratio or [], sample=sample)
    cut = opening("--tune-on", tune_on, past.trace.days, _TWO_THIRDS, least=1)
    [rules] = past.rules
    found = searching.thresholds(rules, cut)
    if not found:
        hint = "such as idle_for, age_over, size_over, reads_below"
        raise UsageError(f"{policy} has no threshold that could be tuned", hint=hint)
    searched = past.trace.until(cut)
    looked_at = searching.sampled(searched)
    with progress(options, "tune", total=settings) as bar:
        tuned = searching.tune(rules, found, _cost(past, looked_at, bar), settings)
    text = policy.read_bytes().decode("utf-8")
    tried = _Tried(text, past, rules, found, tuned, searched, replace(past.trace, opens=cut))
    judged = tried.judged()
    diff = _diff(policy, text, tuned.setting) if judged.worth_it else ""
    notes = [*simulate_output.notes(past, baselines=False), AS_THEY_WERE, _DOLLARS]
    if looked_at.objects < searched.objects:
        each = f"{count(looked_at.objects, 'object')} of {searched.objects:,}, evenly by size"
        notes.insert(0, f"searched on {each}; the figures are of all")
    facts: dict[str, Any] = {
        "policy": str(policy),
        "thresholds": judged.thresholds,
        "tried": tuned.tried,
        "tuned_on_days": cut,
        "held_out_days": past.trace.days - cut,
        "costs": judged.costs,
        "held_out_saving": f"{judged.gained:f}",
        "weeks": judged.weeks,
        "weeks_cheaper": judged.cheaper,
        "worth_it": judged.worth_it,
        "diff": diff,
        **simulate_output.about(past),
        "notes": notes,
        "prices": simulate_output.sources(past),
    }
    out = Output(options)
    shown = [simulate_output.head(past), f"{count(tuned.tried, 'setting')} tried on {count(cut, 'day')}"]
    shown[1] += f"; judged on the {past.trace.days - cut:,} after them, of which nothing was known"
    printed = [diff.rstrip("\n")] if diff and output is None else []
    out.show(facts, *shown, "", *judged.tables, "", judged.verdict, "", *notes, *(["", *printed] if printed else []))
    if diff and output is not None:
        _write(output, diff)
        out.note(f"written: {output}; nothing else was changed")


@dataclass(frozen=True, slots=True)
class _Judged:
    thresholds: list[dict[str, Any]]
    costs: dict[str, dict[str, str]]
    gained: Decimal  # on held-out days
    worth_it: bool  # it gains there, and staying would not be cheaper still
    weeks: int
    cheaper: int
    verdict: str
    tables: list[str | Table]


@dataclass(frozen=True, slots=True)
class _Tried:
    """A policy as it is and as it was tuned, on the days that were searched and on those that were not."""

    text: str
    past: SimulationInput
    rules: RuleSet
    found: tuple[Threshold, ...]
    tuned: Tuned
    searched: Trace
    held_out: Trace

    def judged(self) -> _Judged:
        from storaged.decide.simulate.judge import by_week
        from storaged.decide.simulate.tune import applied
        from storaged.prices.amount import plain, usd

        other = applied(self.rules, self.tuned.setting)
        before, after = self._replay(self.searched, self.rules), self._replay(self.searched, other)
        was, now = self._replay(self.held_out, self.rules), self._replay(self.held_out, other)
        stayed = [self._replay(trace, replace(self.rules, rules=())) for trace in (self.searched, self.held_out)]
        totals = {
            "staying": [o.amount.rounded().total for o in stayed],
            "as it is": [o.amount.rounded().total for o in (before, was)],
            "tuned": [o.amount.rounded().total for o in (after, now)],
        }
        saved = [a - b for a, b in zip(totals["as it is"], totals["tuned"], strict=True)]
        beside_staying = totals["tuned"][1] - totals["staying"][1]
        rows = [(name, *map(usd, two)) for name, two in totals.items()]
        rows.append(("saved by tuning", *map(usd, saved)))
        weeks = [(a, b) for a, b in zip(by_week(was), by_week(now), strict=True)]
        cheaper = sum(b < a for a, b in weeks)
        told = [self._told(threshold) for threshold in self.found]
        settings = [(of["at"], of["is"], of["tuned"] if of["tuned"] != of["is"] else None) for of in told]
        return _Judged(
            told,
            {
                name.replace(" ", "_"): {"tuned_on": plain(one), "held_out": plain(two)}
                for name, (one, two) in totals.items()
            },
            saved[1],
            saved[1] > 0 and beside_staying <= 0,
            len(weeks),
            cheaper,
            self._verdict(saved[1], beside_staying, cheaper, len(weeks)),
            [
                Table(("threshold", "is", "tuned"), settings),
                "",
                Table(
                    ("policy", "days searched", "held-out days"), rows, frozenset(("days searched", "held-out days"))
                ),
            ],
        )

    def _verdict(self, gained: Decimal, beside_staying: Decimal, cheaper: int, weeks: int) -> str:
        from storaged.prices.amount import usd

        if not self.tuned.setting:
            return "leave it: no setting that was tried is cheaper on the days searched"
        if gained <= 0:
            lost = f"costs {usd(-gained)} more" if gained else "saves nothing"
            return f"leave it: on held-out days the tuned setting {lost}"
        if beside_staying > 0:
            less = f"staying costs {usd(beside_staying)} less still"
            return f"leave it: tuned, it saves {usd(gained)} on held-out days, and {less}"
        return f"tuned, it saves {usd(gained)} on held-out days; it is cheaper in {cheaper:,} of {count(weeks, 'week')}"

    def _told(self, threshold: Threshold) -> dict[str, Any]:
        from storaged.config.messages import path_text
        from storaged.config.yaml import written

        now = written(self.text, threshold.path)
        return {"at": path_text(threshold.path), "is": now, "tuned": self.tuned.setting.get(threshold.path, now)}

    def _replay(self, trace: Trace, rules: RuleSet) -> SimulatedOutcome:
        from storaged.decide.simulate.run import replay

        return replay(trace, self.past.listing, rules, half_life_us=self.past.half_life_us)


def _cost(past: SimulationInput, trace: Trace, bar: Callable[[int], None]) -> Callable[[RuleSet], Decimal]:
    from storaged.decide.simulate.run import replay

    done = 0

    def cost(rules: RuleSet) -> Decimal:
        nonlocal done
        found = replay(trace, past.listing, rules, half_life_us=past.half_life_us)
        done += 1
        bar(done)
        return found.amount.total

    return cost


def _diff(policy: Path, text: str, setting: Setting) -> str:
    """Unified, as `patch -p0` takes it."""
    from storaged.config.yaml import rewritten

    before, after = (of.splitlines(keepends=True) for of in (text, rewritten(text, setting)))
    told = difflib.unified_diff(before, after, str(policy), str(policy))
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in told)


def _write(path: Path, diff: str) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            stream.write(diff)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
