"""A policy, said in one sentence."""

from __future__ import annotations

from storaged.config.quantities import format_duration
from storaged.decide.policy import Policy
from storaged.model import CodecSpec


def sentence(policy: Policy) -> str:
    """What it selects and what becomes of it: `logs/* in hot: idle for 30d → cold, stored as zstd`."""
    target, to = policy.target, policy.to
    whose = " or ".join(target.dataset) + (f" in {target.tier}" if target.tier else "")
    when = [str(condition) for condition in policy.conditions.values()]
    if policy.where is not None:
        when.append(f"where {' '.join(policy.where.split())}")
    ways = [to.tier] if to.tier is not None else []
    if to.codec is not None:
        ways.append(form_words(to.codec))
    kept = "" if policy.keep_source is None else f"; the source is kept for {format_duration(policy.keep_source)}"
    return f"{whose}: {', '.join(when)} → {', '.join(ways)}{kept}"


def form_words(codec: CodecSpec) -> str:
    """A codec as a part of a sentence: stored as zstd at level 9."""
    if codec.name == "identity":
        return "stored plain"
    level = "" if codec.level is None else f" at level {codec.level}"
    return f"stored as {codec.name}{level}"
