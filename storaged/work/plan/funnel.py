"""Count, for the summary of a plan, what is left of the objects that its policies look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum, auto

from storaged.catalog.engine import Catalog
from storaged.decide.funnel import counts, told
from storaged.decide.policy import LoadedPolicy
from storaged.decide.selection import Inputs
from storaged.decide.summary import PolicySummary, Summary
from storaged.work.plan.functions import give_functions


class Counting(Enum):
    """Of which policies it is counted: it reads all that a policy looks at once more."""

    NEVER = auto()
    IF_NOTHING = auto()  # where there is nothing to do
    ALWAYS = auto()

    def of(self, part: PolicySummary) -> bool:
        """Whether it is of this one."""
        return self is Counting.ALWAYS or (self is Counting.IF_NOTHING and not part.actions.objects)


def with_funnels(
    catalog: Catalog, policies: Sequence[LoadedPolicy], inputs: Inputs, summary: Summary, why: Counting
) -> Summary:
    """The summary with the funnels of those policies that are asked for."""
    parts = []
    for loaded, part in zip(policies, summary.policies, strict=True):
        if why.of(part):
            with catalog.read() as conn:
                give_functions(conn)
                rows = conn.execute(counts(loaded.policy, inputs)).all()
            held = {code: tally.objects for code, tally in part.held.items()}
            part = replace(part, funnel=told(loaded.policy, inputs, rows, part.actions.objects, held))
        parts.append(part)
    return replace(summary, policies=tuple(parts))
