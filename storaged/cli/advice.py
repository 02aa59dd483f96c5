"""Advice, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from storaged.cli.options import Options
from storaged.cli.render import Output, count, printable, size, when
from storaged.cli.table import Table

if TYPE_CHECKING:
    from storaged.work.advise.atime import Atime
    from storaged.work.advise.look import Shelf
    from storaged.work.advise.one import ObjectAdvice
    from storaged.work.advise.run import Advice, Proposal

_ROWS: Final = 12  # kinds that are told of one by one
_TEN: Final = 10_000_000  # bytes per second: what is slower is told by tenths of a MB


# -- as text ---------------------------------------------------------------------------------------------------------


def blocks(advice: Advice) -> Iterator[str | Table]:
    yield there(advice.shelves)
    for table in (small(advice), forms(advice)):
        if table.rows:
            yield ""
            yield table
    for line in speed_lines(advice):
        yield line
    if advice.atime is not None:
        yield ""
        yield from atime_blocks(advice.atime)
    yield ""
    if not advice.proposals:
        yield _nothing(advice)
    for n, proposal in enumerate(advice.proposals, start=1):
        yield f"{n}. {printable(proposal.expected.sentence)}"
        for line in proposal_lines(proposal):
            yield f"   {printable(line)}"
    if advice.money is not None and len(advice.proposals) > 1:
        from storaged.decide.summary import money_words

        yield f"in all: {money_words(advice.money)}"
    if advice.proposals and advice.dropped:
        yield ""
        yield "looked at, and not proposed:"
    for dropped in advice.dropped:
        yield f"  {printable(dropped.sentence)}: {printable(dropped.why)}"
    if advice.unknown:
        yield ""
        yield "what cannot be known:"
    for line in advice.unknown:
        yield f"  {printable(line)}"
    if advice.basis:
        yield ""
        yield from advice.basis


def _nothing(advice: Advice) -> str:
    """That nothing is proposed, and above which list."""
    if not advice.dropped:
        return "nothing here could be smaller, colder or in packs"
    return "nothing is old enough yet:" if all(each.young for each in advice.dropped) else "no policy pays:"


def there(shelves: tuple[Shelf, ...]) -> Table:
    """What there is, by dataset and format: how old, how idle, how small."""
    from storaged.decide.conditions.size import limit_words
    from storaged.work.advise.look import SMALL, UNKNOWN

    kinds: dict[tuple[str, str], list[Shelf]] = {}
    for shelf in shelves:
        kinds.setdefault((shelf.dataset, shelf.format), []).append(shelf)
    order = sorted(kinds.items(), key=lambda item: -sum(s.bytes for s in item[1]))
    shown = [((dataset, name or "-"), mine) for (dataset, name), mine in order[:_ROWS]]
    if rest := [s for _, mine in order[_ROWS:] for s in mine]:
        shown.append(((f"{len(order) - _ROWS} other kinds", ""), rest))
    rows = []
    for (dataset, name), mine in shown:
        whole = sum(s.bytes for s in mine)
        known = all(s.idle_days != UNKNOWN for s in mine)

        def share(days: int, what: str, mine: list[Shelf] = mine, whole: int = whole) -> str:
            return percent(sum(s.bytes for s in mine if getattr(s, what) >= days), whole)

        rows.append(
            (
                dataset,
                name,
                sum(s.objects for s in mine),
                size(whole),
                sum(s.objects for s in mine if s.size_from < SMALL),
                share(30, "age_days"),
                share(365, "age_days"),
                share(30, "idle_days") if known else "unknown",
                share(90, "idle_days") if known else "unknown",
            )
        )
    titles = ("dataset", "format", "objects", "size", f"under {limit_words(SMALL)}", "older than 30d", "than a year")
    return Table(
        (*titles, "idle 30d", "idle 90d"),
        rows,
        frozenset({"size", *titles[5:], "idle 30d", "idle 90d"}),
        details=frozenset({"than a year", "idle 30d"}),
    )


def percent(part: int, whole: int) -> str:
    """A share of bytes: 12 %; a dash of nothing."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def small(advice: Advice) -> Table:
    """What the small objects cost by their number, in each class."""
    from storaged.prices.amount import usd

    rows = [
        (s.tier, s.objects, size(s.bytes), c.tier, usd(c.month), usd(c.by_number), usd(c.packed), usd(c.write))
        for s in advice.small
        for c in s.classes
    ]
    money = ("a month", "by number", "as packs", "put there once")
    return Table(
        ("small in", "objects", "size", "kept in", *money), rows, frozenset({"size", *money}), title="small objects"
    )


def forms(advice: Advice) -> Table:
    """What is left of each kind in each form."""
    names = sorted({form for kind in advice.kinds for form in kind.ratios})
    rows = [
        (k.dataset, k.format or "-", size(k.bytes), *(_left(k.ratios.get(n)) for n in names), k.best or "as it is")
        for k in advice.kinds[:_ROWS]
    ]
    return Table(("dataset", "format", "size", *names, "best"), rows, frozenset({"size", *names}), title="what is left")


def _left(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * ratio:.0f} %"


def speed_lines(advice: Advice) -> Iterator[str]:
    """How fast each codec was here."""
    for s in advice.speeds:
        made, read = (f"{rate / 1_000_000:,.{0 if rate >= _TEN else 1}f} MB/s" for rate in (s.make, s.read))
        yield f"{s.codec}: made at {made}, read at {read} (one process, {printable(s.object)})"


def atime_blocks(told: Atime) -> Iterator[str | Table]:
    """What file systems say of the last reads, marked as what it is."""
    rows = [
        (
            s.dataset,
            f"{s.files:,} of {s.objects:,}",
            *(percent(s.idle[days], s.bytes) for days in sorted(s.idle)),
            percent(s.unopened, s.bytes),
            s.words,
        )
        for s in told.shares
    ]
    days = [f"not in {n}d" for n in sorted(told.shares[0].idle)] if told.shares else []
    columns = ("last opened", "files", *days, "not since written", "atime")
    if rows:
        right = frozenset({"files", *columns[2:-1]})
        yield Table(columns, rows, right, title="by atime", prose="atime")
        yield "this is no log: who reads everything (backups, storaged's samples) counts too, and no policy goes by it"
    if told.none:
        yield printable(f"{', '.join(told.none)}: buckets keep no time of the last read")


def proposal_lines(proposal: Proposal) -> Iterator[str]:
    """What a plan says of a proposed policy, and what it risks."""
    from storaged.decide.summary import money_words

    part = proposal.expected
    packs = f", in {count(part.packs, 'pack')}" if part.packs else ""
    now, after = size(part.actions.bytes_now), size(part.actions.bytes_after)
    yield f"{count(part.actions.objects, 'object')}, {now} → {after}{packs}"
    if part.money is None:
        yield "no prices: what this costs is not known"
    else:
        yield money_words(part.money)
        if part.money.unread:
            yield f"reads unknown: {count(part.money.unread, 'object')} in these figures as if nobody read them"
    yield from part.notes
    for risk in proposal.draft.risks:
        yield f"risk: {risk}"


def next_words(advice: Advice, written: list[str]) -> Iterator[str]:
    yield ""
    for path in written:
        yield f"wrote {printable(path)}"
    if written:
        yield "now `storagectl plan` tells the same, object by object; nothing was moved"
    elif advice.proposals:
        yield "nothing was moved; `--write DIR` puts these policies there as dry runs"


# -- as JSON ---------------------------------------------------------------------------------------------------------


def facts(advice: Advice) -> dict[str, Any]:
    from storaged.prices.amount import plain

    return {
        "advised_at": when(advice.at_us),
        "datasets": list(advice.datasets),
        "shelves": [_shelf(s) for s in advice.shelves],
        "small_objects": [
            {
                "tier": s.tier,
                "objects": s.objects,
                "bytes": s.bytes,
                "classes": [
                    {
                        "tier": c.tier,
                        "prices": c.prices,
                        **{name: plain(getattr(c, name)) for name in ("month", "by_number", "write", "packed")},
                    }
                    for c in s.classes
                ],
            }
            for s in advice.small
        ],
        "kinds": [
            {
                "dataset": k.dataset,
                "format": k.format,
                "objects": k.objects,
                "bytes": k.bytes,
                "best": k.best,
                "forms": [
                    {"form": name, "ratio": round(float(ratio), 6), "not_taken": k.not_taken.get(name, "")}
                    for name, ratio in k.ratios.items()
                ],
                "left_alone": [{"form": name, "why": why} for name, why in k.not_taken.items() if name not in k.ratios],
            }
            for k in advice.kinds
        ],
        "speeds": [
            {
                "codec": s.codec,
                "object": s.object,
                "bytes": s.bytes,
                "make_bytes_per_second": round(s.make),
                "read_bytes_per_second": round(s.read),
            }
            for s in advice.speeds
        ],
        "proposals": [_proposal(p) for p in advice.proposals],
        "money": advice.money.as_json() if advice.money else None,
        "not_proposed": [{"policy": d.name, "sentence": d.sentence, "why": d.why} for d in advice.dropped],
        "unknown": list(advice.unknown),
        "basis": list(advice.basis),
        "atime": None if advice.atime is None else _atime(advice.atime),
    }


def _atime(told: Atime) -> dict[str, Any]:
    return {
        "datasets": [
            {
                "dataset": s.dataset,
                "kept": s.keeps.value,
                "objects": s.objects,
                "files": s.files,
                "bytes": s.bytes,
                "not_opened": [{"days": days, "bytes": nbytes} for days, nbytes in sorted(s.idle.items())],
                "not_since_written_bytes": s.unopened,
            }
            for s in told.shares
        ],
        "in_buckets": list(told.none),
    }


def _shelf(shelf: Shelf) -> dict[str, Any]:
    from storaged.work.advise.look import UNKNOWN

    return {
        "dataset": shelf.dataset,
        "tier": shelf.tier,
        "format": shelf.format,
        "plain": shelf.plain,
        "size_from": shelf.size_from,
        "age_days_from": shelf.age_days,
        "idle_days_from": None if shelf.idle_days == UNKNOWN else shelf.idle_days,
        "objects": shelf.objects,
        "bytes": shelf.bytes,
        "stored_bytes": shelf.stored_bytes,
    }


def _proposal(proposal: Proposal) -> dict[str, Any]:
    part = proposal.expected
    return {
        "policy": proposal.policy.name,
        "sentence": part.sentence,
        "text": proposal.draft.text,
        "datasets": list(proposal.draft.datasets),
        "needs_readers": list(proposal.draft.raw),
        "objects": part.actions.objects,
        "bytes_now": part.actions.bytes_now,
        "bytes_after": part.actions.bytes_after,
        "packs": part.packs,
        "money": part.money.as_json() if part.money else None,
        "notes": list(part.notes),
        "risks": list(proposal.draft.risks),
    }


# -- of one object ---------------------------------------------------------------------------------------------------


def tell_object(options: Options, told: ObjectAdvice) -> None:
    """Show the advice on one object."""
    from storaged.decide.summary import money_words

    rows = [
        (
            c.codec,
            size(c.stored_bytes),
            percent(c.stored_bytes, told.size),
            c.why_not or ("it is stored so" if c.codec == told.form else "no prices")
            if c.money is None
            else money_words(c.money),
        )
        for c in told.candidates
    ]
    table = Table(
        ("codec", "after", "left", "what it comes to"), rows, frozenset({"after", "left"}), prose="what it comes to"
    )
    facts = {
        "object": f"{told.dataset}/{told.name}",
        "size": told.size,
        "format": told.format,
        "codec": told.form,
        "stored_bytes": told.stored_bytes,
        "candidates": [
            {
                "codec": c.codec,
                "stored_bytes": c.stored_bytes,
                "why_not": c.why_not,
                "money": c.money.as_json() if c.money else None,
            }
            for c in told.candidates
        ],
        "choice": told.choice,
        "why": told.why,
    }
    path = printable(f"{told.dataset}/{told.name}")
    head = f"{path}: {size(told.size)}, {size(told.stored_bytes)} as {told.form}"
    Output(options).show(facts, head, table, f"choice: {told.choice}: {printable(told.why)}")
