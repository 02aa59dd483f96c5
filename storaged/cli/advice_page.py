"""Advice as one page: no script, nothing from elsewhere, and names as text whatever is in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from storaged.cli.advice import atime_blocks, forms, proposal_lines, small, speed_lines, there
from storaged.cli.render import cells, printable, when
from storaged.cli.table import Table

if TYPE_CHECKING:
    from storaged.work.advise.run import Advice

_STYLE: Final = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1rem; margin-bottom: .2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; } caption { text-align: left; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; white-space: nowrap; }
th { border-bottom: 1px solid; } .number { text-align: right; font-variant-numeric: tabular-nums; }
pre { padding: .6rem; border: 1px solid; overflow-x: auto; } .sum { font-size: 1.2rem; }"""


def page(advice: Advice) -> str:
    """The whole page."""
    return "\n".join(_lines(advice)) + "\n"


def _lines(advice: Advice) -> Iterator[str]:
    from storaged.decide.summary import money_words

    title = f"Storage advice: {', '.join(advice.datasets)}"
    yield from ("<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">')
    yield """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield from (f"<title>{_text(title)}</title>", f"<style>{_STYLE}</style>", "</head>", "<body>", "<main>")
    yield f"<h1>{_text(title)}</h1>"
    yield f"<p>Made {when(advice.at_us)}. Nothing was moved.</p>"
    if advice.money is not None:
        yield f'<p class="sum">All that is proposed: {_text(money_words(advice.money))}.</p>'
    yield "<h2>What there is</h2>"
    for table, caption in (
        (there(advice.shelves), "By dataset and format"),
        (small(advice), "What small objects cost by their number"),
        (forms(advice), "What is left of it in each form"),
    ):
        if table.rows:
            yield from _table(table, caption)
    yield from _list(speed_lines(advice))
    if advice.atime is not None:
        yield "<h2>What atime says, which is no log</h2>"
        for block in atime_blocks(advice.atime):
            yield from (f"<p>{_text(block)}</p>",) if isinstance(block, str) else _table(block, "By atime")
    yield "<h2>What pays</h2>"
    if not advice.proposals:
        yield "<p>No policy pays.</p>"
    for proposal in advice.proposals:
        yield f"<h3>{_text(proposal.expected.sentence)}</h3>"
        yield from _list(proposal_lines(proposal))
        yield f'<pre tabindex="0">{escape(proposal.draft.text)}</pre>'
    if advice.dropped:
        yield "<h2>Looked at, and not proposed</h2>"
        yield from _list(f"{dropped.sentence}: {dropped.why}" for dropped in advice.dropped)
    if advice.unknown:
        yield "<h2>What cannot be known</h2>"
        yield from _list(advice.unknown)
    for line in advice.basis:
        yield f"<p>{_text(line)}</p>"
    yield from ("</main>", "</body>", "</html>")


def _text(text: str) -> str:
    return escape(printable(text))


def _list(lines: Iterable[str]) -> Iterator[str]:
    found = [f"<li>{_text(line)}</li>" for line in lines]
    if found:
        yield from ("<ul>", *found, "</ul>")


def _table(table: Table, caption: str) -> Iterator[str]:
    """A table; what stands at the right in a terminal does here."""
    told, right = cells(table)

    def row(tag: str, texts: Sequence[str]) -> str:
        numbers = (' class="number"' if right[n] else "" for n in range(len(texts)))
        parts = (f"<{tag}{number}>{escape(text)}</{tag[:2]}>" for number, text in zip(numbers, texts, strict=True))
        return f"<tr>{''.join(parts)}</tr>"

    yield f'<div class="wide" tabindex="0"><table><caption>{escape(caption)}</caption>'
    head = row('th scope="col"', table.columns)
    yield f"<thead>{head}</thead>"
    yield f"<tbody>{''.join(row('td', each) for each in told)}</tbody></table></div>"
