"""/map and /objects: how many bytes there are of which dataset, age and heat, and the objects of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import datasets, objects, tiers
from storaged.daemon.pages.chart import Box, treemap
from storaged.daemon.pages.money import survey_due
from storaged.daemon.pages.view import LOOKED_AT, ROWS, Query, View, WebPage, number
from storaged.errors import UsageError
from storaged.work.show.make_survey import of_cell
from storaged.work.show.survey import AGE_NAMES, HEAT_NAMES, Cell, newest

DRAWN: Final = 40  # datasets
DRAWING: Final = Box(0, 0, 960, 540)
TITLE: Final = 16  # height of a dataset's name


@dataclass(frozen=True, slots=True)
class Drawn:
    """A dataset's box, its cells' boxes within, and whether its name fits."""

    dataset: str
    box: Box
    cells: list[tuple[Cell, Box]]
    named: bool


def spread(view: View, _query: Query) -> WebPage:
    with view.context.catalog.read() as conn:
        found, due_us = newest(conn), survey_due(conn)
    values = {"ages": AGE_NAMES, "heats": HEAT_NAMES}
    if found is None:
        return WebPage("map.html", "Map", {**values, "survey": None, "due_us": due_us})
    by_dataset: dict[str, list[Cell]] = {}
    for cell in found.cells:
        by_dataset.setdefault(cell.dataset, []).append(cell)
    totals = {name: sum(cell.bytes for cell in cells) for name, cells in by_dataset.items()}
    order = sorted(totals, key=lambda name: (-totals[name], name))
    shown = [name for name in order if totals[name] > 0][:DRAWN]
    boxes = treemap([totals[name] for name in shown], DRAWING)
    drawn = [_drawn(name, by_dataset[name], box) for name, box in zip(shown, boxes, strict=True)]
    rows = [(name, totals[name], sum(c.objects for c in by_dataset[name]), by_dataset[name]) for name in order[:ROWS]]
    more = {"survey": found.money, "drawn": drawn, "rows": rows, "left": len(order) - len(rows), "box": DRAWING}
    return WebPage("map.html", "Map", {**values, **more})


def _drawn(name: str, cells: list[Cell], box: Box) -> Drawn:
    named = box.width > 60 and box.height > 3 * TITLE
    top = TITLE if named else 0
    inner = Box(box.x + 1, box.y + top + 1, max(0.0, box.width - 2), max(0.0, box.height - top - 2))
    some = sorted((c for c in cells if c.bytes > 0), key=lambda c: (-c.bytes, c.age, c.heat))
    return Drawn(name, box, list(zip(some, treemap([c.bytes for c in some], inner), strict=True)), named)


def listed(view: View, query: Query) -> WebPage:
    """Objects of a cell by name, from behind `after` on. At most LOOKED_AT are looked at: where few are of the cell,
    a page may have fewer rows, or none, and still a next one."""
    dataset, after = query.get("dataset", ""), query.get("after", "")
    age = number(query, "age", most=len(AGE_NAMES) - 1)
    heat = number(query, "heat", most=len(HEAT_NAMES) - 1)
    if age is None or heat is None:
        raise UsageError("no age and heat are given", hint="choose a cell of the map")
    with view.context.catalog.read() as conn:
        row = conn.execute(sa.select(datasets.c.id).where(datasets.c.name == dataset)).first()
        found = newest(conn)
    if row is None or found is None:
        raise UsageError(f"there is no dataset {dataset!r}, or no survey yet", hint="choose a cell of the map")
    alike = of_cell(view.context, row.id, found.money.at_us, age, heat)
    mine = sa.and_(objects.c.dataset_id == row.id, objects.c.name > after)
    last = sa.select(objects.c.name).where(mine).order_by(objects.c.name).limit(1).offset(LOOKED_AT - 1)
    columns = ("name", "size", "stored_bytes", "codec", "created_us", "last_read_us")
    meant = (
        sa.select(*(objects.c[name] for name in columns), tiers.c.name.label("tier"))
        .join(tiers, tiers.c.id == objects.c.tier_id)
        .where(mine, alike)
        .order_by(objects.c.name)
        .limit(ROWS)
    )
    with view.context.catalog.read() as conn:
        end = conn.execute(last).scalar()
        rows = conn.execute(meant if end is None else meant.where(objects.c.name <= end)).all()
    following = rows[-1].name if len(rows) == ROWS else end
    values = {"dataset": dataset, "age": age, "heat": heat, "rows": rows, "next": following, "after": after}
    return WebPage("objects.html", f"Objects of {dataset}", {**values, "ages": AGE_NAMES, "heats": HEAT_NAMES})
