"""cost what-if: what a move would cost and save, from the price books alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, count, size
from storaged.cli.table import Table
from storaged.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

    from storaged.decide.whatif import Answer, Question
    from storaged.prices.book import ClassPrices

_CLASS = "PROVIDER/REGION/CLASS of a price book, such as aws/us-east-1/standard; `storagectl prices show` lists them."


def what_if(
    ctx: typer.Context,
    objects: Annotated[str, typer.Option("--objects", metavar="N", help="How many objects.")],
    object_size: Annotated[str, typer.Option("--size", metavar="SIZE", help="The size of each, such as 20KiB.")],
    source: Annotated[str, typer.Option("--from", metavar="BOOK/CLASS", help=_CLASS)],
    target: Annotated[str, typer.Option("--to", metavar="BOOK/CLASS", help="Where to, by the same kind of id.")],
    reads_per_month: Annotated[
        str, typer.Option("--reads-per-month", metavar="R", help="How often each object is read as a whole.")
    ] = "0",
    pack: Annotated[
        str | None,
        typer.Option("--pack", metavar="SIZE", show_default=False, help="Put many into objects of about this size."),
    ] = None,
    codec_ratio: Annotated[
        str, typer.Option("--codec-ratio", metavar="X", help="Compress: 3 means to a third of the size.")
    ] = "1",
    grace: Annotated[
        str, typer.Option("--grace", metavar="DAYS", help="How long the source is kept beside a new copy.")
    ] = "0",
    _json: JsonOption = False,
) -> None:
    """Tell what moving objects to another storage class would cost once and save per month. Needs no configuration.

    In the same region, without --pack and --codec-ratio, the store changes the class of the objects in place; otherwise
    they are read and written anew. Amounts are USD; docs/money.md has the formulas and what is not counted.

    Example: storagectl cost what-if --objects 9000 --size 1MB --from aws/us-east-1/standard --to aws/us-east-1/glacier
    """

    from storaged.cli.prices import known_prices
    from storaged.decide.whatif import Question, answer, packed
    from storaged.prices.amount import plain
    from storaged.prices.load import prices_of

    book = known_prices(of(ctx))
    asked = Question(
        objects=_whole("--objects", objects),
        size=_size("--size", object_size),
        source=prices_of(book, source),
        target=prices_of(book, target),
        reads=_number("--reads-per-month", reads_per_month, zero=True),
        pack=None if pack is None else _size("--pack", pack),
        ratio=_number("--codec-ratio", codec_ratio, zero=False),
        grace_days=_number("--grace", grace, zero=True),
    )
    if source == target and not asked.rewritten:
        raise UsageError(f"they are in {source} already", hint="name another class, --pack or --codec-ratio")
    if asked.beyond:
        raise UsageError("nobody has so much", hint="at most 10^15 objects or reads a month, and 10^24 bytes of them")
    found = answer(asked)
    facts = {
        "one_time": found.one_time.as_json(),
        "monthly_before": found.before.as_json(),
        "monthly_after": found.after.as_json(),
        "payback_months": None if found.payback is None else plain(found.payback),
        "inputs": {
            "objects": asked.objects,
            "size": asked.size,
            "from": source,
            "to": target,
            "reads_per_month": plain(asked.reads),
            "pack": asked.pack,
            "codec_ratio": plain(asked.ratio),
            "grace_days": plain(asked.grace_days),
        },
    }
    out = Output(of(ctx))
    out.show(facts, _headline(asked), "", _table(found), "", *_words(asked, found, packed(asked)))


def _headline(asked: Question) -> str:
    what = f"{count(asked.objects, 'object')} of {size(asked.size)}, {asked.source.id} to {asked.target.id}: "
    if not asked.rewritten:
        return what + "the class changes in place"
    return what + f"written anew as {count(asked.new_objects, 'object')} of {size(asked.new_bytes)} in all"


def _table(found: Answer) -> Table:
    from storaged.prices.amount import KINDS, usd

    amounts = (found.one_time, found.before, found.after)
    kinds = [kind for kind in (*KINDS, "total") if kind == "total" or any(getattr(a, kind) for a in amounts)]
    rows = [(kind.replace("_", " "), *(usd(getattr(amount, kind)) for amount in amounts)) for kind in kinds]
    titles = ("", "once", "per month before", "per month after")
    return Table(titles, rows, frozenset(titles[1:]))


def _words(asked: Question, found: Answer, in_packs: Answer | None) -> list[str]:
    from storaged.cli.prices import cited
    from storaged.decide.money import PACK_SIZE
    from storaged.prices.amount import usd
    from storaged.prices.book import DAYS_PER_MONTH

    lines = [f"payback: {_months(found.payback)}; saved in 12 months: {usd(found.first_year)}"]
    if in_packs is not None:
        lines.append(
            f"the number of objects is what costs: in packs of {PACK_SIZE >> 20}MiB it is "
            f"{usd(in_packs.one_time.total)} once and {usd(in_packs.after.total)} per month, payback "
            f"{_months(in_packs.payback)}, saved in 12 months: {usd(in_packs.first_year)} (--pack {PACK_SIZE >> 20}MiB)"
        )
    ends = {prices.id: prices for prices in (asked.source, asked.target)}
    lines += [_inside(prices, asked) for prices in ends.values() if prices.inner]
    if asked.grace_days and not asked.rewritten:
        lines.append("nothing is kept twice where a class changes in place: --grace counts nothing")
    said = f"GB = {asked.source.gb:,} bytes, a month is {DAYS_PER_MONTH} days"
    lines.append(f"{said}, list prices without discounts and taxes")
    return lines + [line for prices in ends.values() for line in cited(prices)]


def _inside(prices: ClassPrices, asked: Question) -> str:
    last = prices.inner[-1]
    if asked.reads == 0:
        return (
            f"{prices.id} moves objects by itself: never read, they are in {last.name} (from {last.idle_days} days on)"
        )
    return f"{prices.id} moves objects by itself: in the long run, with reads spaced evenly"


def _months(payback: Decimal | None) -> str:
    return "never" if payback is None else "at once" if payback == 0 else f"{payback:,.1f} months"


def _whole(option: str, text: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    if not (digits.isascii() and digits.isdigit()) or int(digits) == 0 or len(digits) > 15:
        raise UsageError(f"{option} {text!r} is not a number of objects", hint="write 1000000 or 1_000_000")
    return int(digits)


def _size(option: str, text: str) -> int:
    from storaged.config.quantities import BadValueError, parse_size

    try:
        found = parse_size(int(text) if text.isascii() and text.isdigit() else text)
    except BadValueError as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from error
    if found == 0:
        raise UsageError(f"{option} is 0 bytes", hint="give the size of one object, such as 20KiB")
    return found


def _number(option: str, text: str, *, zero: bool) -> Decimal:
    import re
    from decimal import Decimal

    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text) or (not zero and Decimal(text) == 0):
        least = "0 or more" if zero else "more than 0"
        raise UsageError(f"{option} {text!r} is not a number", hint=f"write {least} in digits, such as 0.5 or 3")
    return Decimal(text)
