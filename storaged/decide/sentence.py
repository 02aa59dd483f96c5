"""A policy, said in one sentence."""

from __future__ import annotations

from typing import TypeVar

from humanize import naturalsize

from storaged.clock import iso
from storaged.codecs.pack import LEVEL
from storaged.config.quantities import format_duration
from storaged.decide.packing import PackSpec
from storaged.decide.policy import Policy
from storaged.model import AUTO, IDENTITY, CodecSpec, Fidelity
from storaged.stores.schemes import leaving


def sentence(policy: Policy) -> str:
    """What it selects and what becomes of it: `logs/* in hot: idle for 30d → cold, stored as zstd`."""
    target, to = policy.target, policy.to
    whose = " or ".join(target.dataset) + (f" in {target.tier}" if target.tier else "")
    when = [str(condition) for condition in policy.conditions.values()]
    if policy.where is not None:
        when.append(f"where {' '.join(policy.where.split())}")
    ways = [f"{_where(policy)} in place" if to.in_place else _where(policy)] if to.tier is not None else []
    if to.codec is not None:
        ways.append(form_words(to.codec) + (f", {policy.group_by}" if policy.group_by else ""))
    kept = "" if policy.keep_source is None else f"; the source is kept for {format_duration(policy.keep_source)}"
    rests = "" if policy.rest is None else f"; not back within {format_duration(policy.rest)}"
    purged = "; older versions go with the source" if policy.purge_noncurrent else ""
    pays = (
        "" if policy.require is None else f"; only what pays back in {format_duration(policy.require.payback_within)}"
    )
    return f"{whose}: {', '.join(when) or 'all'} → {', '.join(ways)}{kept}{rests}{purged}{pays}"


def _where(policy: Policy) -> str:
    """The tier, or those that are chosen from and for how long."""
    to = policy.to
    if not to.chooses:
        return str(to.tier)
    among = f" of {', '.join(to.among)}" if to.among else ""
    return f"the cheapest tier{among} for {format_duration(to.horizon_us)}"


def form_words(codec: CodecSpec) -> str:
    """A codec as a part of a sentence: stored as zstd at level 9."""
    if codec.name == AUTO:
        return "stored in the codec that is best for its kind"
    if codec == IDENTITY:
        return "stored plain"
    if isinstance(codec, PackSpec):
        level = "" if codec.level == LEVEL else f" at level {codec.level}"
        return f"packed to {naturalsize(codec.target, binary=True, format='%.4g')}{level}"
    level = "" if codec.level is None else f" at level {codec.level}"
    table = ", tables as other files of the same table" if codec.fidelity is Fidelity.TABLE else ""
    table += ", encoded anew" if codec.reencode else ""
    return f"stored as {codec.name}{level}{table}"


def waits_words(until_us: int) -> str:
    """Until when something waits that only time holds back."""
    return f"until {iso(until_us)}"


T = TypeVar("T")


def price_of_undo(made: str, was: T) -> tuple[str | T, ...]:
    """What going back from the storage class `made` to `was` is billed for, as parts of a text."""
    terms = leaving(made)
    return ("one COPY request into ", was, f", {terms}" if terms else "")
