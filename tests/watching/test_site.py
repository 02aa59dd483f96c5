"""The daemon's pages: what they show is what the catalog holds, as text, and it costs no look at every object."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import schema, schema_daemon
from storaged.catalog.engine import Catalog, create_catalog
from storaged.clock import DAY
from storaged.daemon.pages.chart import Box, bars, treemap
from storaged.daemon.pages.site import AT_ONCE, PAGES, Site, asked, link
from storaged.daemon.pages.view import View
from storaged.decide.policy import PolicySet
from storaged.errors import CatalogLocked
from storaged.testing.clock import START_US as NOW
from storaged.work.context import Context
from storaged.work.show.measure import measure
from tests.watching.scene import insert, seeded

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e\x1b[31m&amp;/{{ 7*7 }}"
ASKED = (
    *((path, "") for path in PAGES if path != "/objects"),
    ("/objects", "dataset=events&age=0&heat=1"),
    ("/plans", "plan=2"),
    ("/plans", "plan=2&held=1"),
    ("/object", "name=events/raw"),
)


class Elements(HTMLParser):
    """The elements of a page, its links, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.text += "" if tag in ("a", "code", "span", "strong") else " "

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def links(self) -> list[str]:
        return [str(value) for name, value in self.attributes if name == "href"]


def site_of(
    context: Context, *, faults: list[Exception] | None = None, measured: bool = True, approves: bool = False
) -> Site:
    """A site that shows this catalog. A fault of ours fails the test unless it is expected."""
    view = View(context, PolicySet(), measure(context) if measured else None, approves)

    @contextmanager
    def look() -> Iterator[View]:
        yield view

    def faulted(error: Exception) -> None:
        if faults is None:
            raise error
        faults.append(error)

    return Site(look, faulted)


def shown(site: Site, path: str, query: str = "", status: int = 200) -> str:
    answer = site.answer(path, query)
    assert answer is not None
    assert int(answer[0][:3]) == status, answer[2].decode()
    return answer[2].decode()


def text_of(page: str) -> str:
    return " ".join(Elements(page).text.split())


def test_the_money_page_has_the_bill_the_months_and_what_was_saved_of_what_was_expected(scene: Context) -> None:
    page = shown(site_of(scene), "/")
    text = text_of(page)
    assert "bill, per month $3.25" in text
    assert "saving, per month $9.00 expected of it $10.00 saved so far $13.00 spent for it $6.00" in text
    assert "proposed, per month $5.00" in text
    assert "No prices are known of 77 B" in text
    assert "2026-09 $3.25 2026-08 $4.25" in text
    assert "2026-10 1 $1.00 $1.00 $2.00 $2.00 $0.50 2026-09 2 $5.00 $4.00 $7.00 $8.00 $12.50" in text
    assert page.count('<rect class="bill"') == 2 + 1 + 2 + 2  # months; datasets, tiers, kinds


def test_before_the_first_survey_the_page_says_when_it_comes_and_what_there_is(
    catalog: Catalog, tmp_path: Path
) -> None:
    context = seeded(catalog, tmp_path, surveyed=False)
    for path, command in (("/", "storagectl cost"), ("/map", "storagectl cost --by age")):
        text = text_of(shown(site_of(context), path))
        assert "Nothing was counted yet. The daemon that leads does so by daemon.survey" in text
        assert text.count(f"none has led yet. Now: {command}.") == 1
    assert "cold zstd 2 300 B 11 B" in text_of(shown(site_of(context), "/"))
    with catalog.begin() as conn:
        insert(conn, schema_daemon.tasks, name="survey", schedule="5 * * * *", due_us=NOW)
    for path in ("/", "/map"):
        assert "The daemon that leads counts everything next 2026-" in text_of(shown(site_of(context), path))
    for path in PAGES:
        shown(site_of(context, measured=False), path, status=404 if path == "/objects" else 200)


def test_the_map_leads_to_the_objects_of_each_cell(scene: Context) -> None:
    site = site_of(scene)
    links = [to for to in Elements(shown(site, "/map")).links if to.startswith("/objects")]
    assert set(links) == {"/objects?dataset=events&age=0&heat=1", "/objects?dataset=events&age=3&heat=4"}
    text = text_of(shown(site, *links[0].split("?")))
    assert "events/raw hot identity 10 B 10 B" in text
    assert "events/later cold zstd 200 B 6 B" in text
    assert "gone" not in text


def test_lists_go_on_page_by_page_until_every_object_was_shown_once(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = seeded(catalog, tmp_path)
    thing = {"dataset_id": 1, "tier_id": 1, "size": 1, "stored_bytes": 1, "mtime_us": NOW}
    with catalog.begin() as conn:
        conn.execute(sa.delete(schema.heat_coverage))  # reads unknown: heat 0
        rows = [
            {"id": 100 + n, "name": f"many/{n:03}", "created_us": NOW - (400 * DAY if n % 3 else 0), **thing}
            for n in range(250)
        ]
        conn.execute(sa.insert(schema.objects), rows)
    monkeypatch.setattr("storaged.daemon.pages.spread.LOOKED_AT", 120)
    site, to, seen = site_of(context), "/objects?dataset=events&age=3&heat=0", []
    for _ in range(10):
        page = Elements(shown(site, *to.split("?")))
        seen += [link_ for link_ in page.links if link_.startswith("/object?")]
        further = [link_ for link_ in page.links if "after=" in link_]
        if not further:
            break
        [to] = further
    assert seen == [link("/object", name=f"events/many/{n:03}") for n in range(250) if n % 3]


def test_a_plan_waits_with_the_command_that_applies_it_and_its_rows(scene: Context) -> None:
    item = {"version": 1, "identity": "", "size": 10, "stored_bytes": 10, "after_bytes": 4, "tier_id": 2}
    with scene.catalog.begin() as conn:
        for number, held in ((1, None), (12, "hold")):
            row = {"object_id": number, "held": held, "policy": "tidy", "codec": "zstd", "grace_us": 0, "reason": "old"}
            insert(conn, schema.plan_items, plan_id=2, **row, **item)
    site = site_of(scene)
    page = shown(site, "/plans")
    assert "Plan 2, 2026-09-20 16:13Z: 7 objects" in text_of(page)
    assert "storagectl apply 2" in page
    assert "Plan 1" not in page, "applied"
    assert "Plan 3" not in page, "nothing to do"
    rows = text_of(shown(site, "/plans", "plan=2"))
    assert "events/raw tidy 10 B 4 B cold, zstd old" in rows
    assert "events/hurt" not in rows
    assert "events/hurt tidy 10 B 4 B cold, zstd hold" in text_of(shown(site, "/plans", "plan=2&held=1"))


def test_jobs_findings_and_tiers_show_what_goes_on_and_what_is_wrong(scene: Context) -> None:
    site = site_of(scene)
    text = text_of(shown(site, "/jobs"))
    assert "2 of 3 objects, 140 B of 210 B" in text
    assert "failed 2 times: " in text
    assert "no room is left" in text
    text = text_of(shown(site, "/findings"))
    assert "policy stopped too many failed" in text
    assert "storagectl resume policy:stopped" in text
    assert "1 originals and 1 blobs are damaged" in text
    assert "events/later current digest" in text
    assert "At 2026-09-21 13:13Z, 1 to mend." in text
    worst, info = (
        text.index("error unreadable tier:away: it is away"),
        text.index("info no-backup catalog0: none No copies"),
    )
    assert worst < info
    assert "info no-backup and 5 more" in text
    text = text_of(shown(site, "/tiers"))
    assert "1.0 GiB 0 %" in text
    assert "high mark 90 %" in text


def test_an_objects_page_tells_its_whole_story(scene: Context) -> None:
    with scene.catalog.begin() as conn:
        row = {"at_us": NOW, "dataset": "events", "actor": "ann", "job_id": 7, "detail": '{"to_tier": "cold"}'}
        insert(conn, schema.audit, kind="swap", object="moved", **row)
        insert(conn, schema.audit, kind="swap", object="other", **row)
    text = text_of(shown(site_of(scene), "/object", "name=events/moved"))
    assert "superseded events, original moved 100 B 2026-09-22 14:13Z" in text
    assert text.count("swap ann 7 - to tier cold") == 1
    assert "There is no policy." in text


def test_what_no_catalog_holds_is_not_asked_for(scene: Context) -> None:
    """Bytes that are no UTF-8, surrogates and NULs."""
    site = site_of(scene)
    for value in ("%FF", "%ED%B3%BF", "%00"):
        for path, query in (
            ("/object", f"name=events/{value}"),
            ("/objects", f"age=0&heat=1&dataset={value}"),
            ("/objects", f"dataset=events&age=0&heat=1&after={value}"),
        ):
            assert "that address cannot be read" in shown(site, path, query, status=404)


def test_names_with_markup_are_text_wherever_they_stand(catalog: Catalog, tmp_path: Path) -> None:
    context = seeded(catalog, tmp_path)
    with catalog.begin() as conn:
        for table, columns in (
            (schema.objects, ("name",)),
            (schema.replicas, ("damaged",)),
            (schema.jobs, ("policy", "reason", "error", "worker")),
        ):
            key = next(iter(table.primary_key.columns))
            first = sa.select(sa.func.min(key)).where(sa.true() if table is not schema.jobs else key == 5)
            conn.execute(sa.update(table).where(key == first.scalar_subquery()).values(dict.fromkeys(columns, HOSTILE)))
        conn.execute(sa.update(schema.plans).values(summary=sa.func.replace(schema.plans.c.summary, "tidy", "<b>t")))
        conn.execute(sa.text("UPDATE suspensions SET reason = :h, name = name || '<i>'"), {"h": HOSTILE})
        conn.execute(sa.text("UPDATE daemons SET problem = :h"), {"h": HOSTILE})
        conn.execute(sa.text("UPDATE runs SET message = :h"), {"h": HOSTILE})
        conn.execute(sa.text("UPDATE examinations SET findings = replace(findings, 'it is away', '<s>x<img>')"))
        conn.execute(sa.text("UPDATE surveys SET spread = replace(spread, 'events', '<u>'), "
                             "money = replace(money, 'events', '<u>')"))  # fmt: skip
        audit = {"at_us": NOW, "kind": HOSTILE, "dataset": "events", "object": HOSTILE, "actor": HOSTILE}
        insert(conn, schema.audit, **audit, detail='{"<s>": "<s>"}')
    site, ours = site_of(context), {"b", "i", "u", "s", "img", "script"}
    story = link("/object", name=f"events/{HOSTILE}").partition("?")[2]
    pages = [shown(site, path, query) for path, query in (*ASKED[:-1], ("/object", story))]
    for page in pages:
        found = Elements(page)
        assert not ours & set(found.tags)
        assert not [name for name, _ in found.attributes if name.startswith("on") or name in ("style", "src")]
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", page)
    assert sum("<script>alert(1)</script>" in html.unescape(page) for page in pages) >= 4
    assert "\\u202e" in pages[-1]
    assert "{{ 7*7 }}" in html.unescape(pages[-1])
    for query in (f"name=events/{HOSTILE}x", f"name={HOSTILE}", "name=events/%ff%00", "name=%"):
        assert not ours & set(Elements(shown(site, "/object", query, status=404)).tags)


def test_every_link_of_every_page_leads_somewhere(scene: Context) -> None:
    site = site_of(scene)
    links = {to for path, query in ASKED for to in Elements(shown(site, path, query)).links}
    known = {"/style.css", "/icon.svg", "/healthz", "/readyz", "/metrics", "#main"}
    for to in links - known:
        path, _, query = to.partition("?")
        shown(site, path, query)
    assert len(links) > 15


def test_every_page_is_whole_in_one_language_and_within_our_policy(scene: Context) -> None:
    for path, query in ASKED:
        page = shown(site_of(scene), path, query)
        found = Elements(page)
        assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
        assert found.tags.count("h1") == found.tags.count("main") == 1
        assert not {"script", "style", "iframe", "object", "embed"} & set(found.tags)
        assert all(to.startswith(("/", "#")) and not to.startswith("//") for to in found.links)
        assert found.attributes.count(("aria-current", "page")) == (path != "/objects")


def test_what_is_not_there_is_said_and_what_cannot_be_had_now_too(scene: Context) -> None:
    site = site_of(scene)
    assert site.answer("/nothing", "") is None
    for path, query in (("/plans", "plan=99"), ("/plans", "plan=-1"), ("/plans", "plan=1&after=x"), ("/objects", "")):
        shown(site, path, query, status=404)
    shown(site, "/objects", "dataset=no&age=0&heat=0", status=404)
    shown(site, "/objects", "dataset=events&age=9&heat=0", status=404)
    shown(site, "/", "&".join(f"a{n}=1" for n in range(50)), status=404)
    assert asked("a=1&a=2&b") == {"a": "2", "b": ""}


def test_an_error_of_the_catalog_is_said_and_a_fault_is_told_to_the_daemon_alone() -> None:
    faults: list[Exception] = []

    @contextmanager
    def broken() -> Iterator[View]:
        raise errors.pop()
        yield

    errors: list[Exception] = [ValueError("a secret"), CatalogLocked("the catalog is locked")]
    site = Site(broken, faults.append)
    assert "the catalog is locked" in shown(site, "/", status=503)
    assert "secret" not in shown(site, "/", status=500)
    assert [str(error) for error in faults] == ["a secret"]


def test_so_many_look_at_a_time_and_the_next_is_told_at_once(scene: Context) -> None:
    answers: list[str] = []

    @contextmanager
    def nested() -> Iterator[View]:
        answer = site.answer("/", "")
        assert answer is not None
        answers.append(answer[0])
        raise CatalogLocked("enough")
        yield

    site = Site(nested, lambda _error: None)
    site.answer("/", "")
    assert answers == ["503 Service Unavailable"] * AT_ONCE
    assert "others are looking" not in shown(site_of(scene), "/"), "and they are free again"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A scene with objects enough for pages that look at each of them to be found out."""
    place = tmp_path_factory.mktemp("large")
    with create_catalog(f"sqlite:///{place}/catalog.db") as catalog:
        context = seeded(catalog, place)
        thing = {"dataset_id": 1, "tier_id": 1, "size": 1, "stored_bytes": 1, "mtime_us": NOW, "created_us": NOW}
        with catalog.begin() as conn:
            rows = [{"id": 100 + n, "name": f"n{n:05}", **thing} for n in range(20_000)]
            conn.execute(sa.insert(schema.objects), rows)
        yield context


@pytest.mark.parametrize(("path", "query"), ASKED)
def test_no_page_looks_at_every_object(large: Context, path: str, query: str) -> None:
    """Counted in SQLite's instructions: a look at each of 20,000 objects takes at least five of each."""
    site, steps = site_of(large), [0]

    def count() -> int:
        steps[0] += 10
        return 0

    def heard(conn: sa.Connection) -> None:
        conn.connection.driver_connection.set_progress_handler(count, 10)  # type: ignore[union-attr]

    sa.event.listen(large.catalog.engine, "begin", heard)
    try:
        shown(site, path, query)
    finally:
        sa.event.remove(large.catalog.engine, "begin", heard)
    if path == "/objects":  # at as many as it says
        assert steps[0] > 20_000
    else:
        assert steps[0] < 50_000


def test_a_treemap_fills_its_box_in_proportion_and_nothing_overlaps() -> None:
    sizes = [50.0, 20, 12, 9, 5, 2, 1, 1]
    boxes = treemap(sizes, Box(10, 20, 200, 100))
    for size, box in zip(sizes, boxes, strict=True):
        assert box.width * box.height == pytest.approx(20_000 * size / 100)
        assert box.x >= 10 - 1e-6
        assert box.y >= 20 - 1e-6
        assert box.x + box.width <= 210 + 1e-6
        assert box.y + box.height <= 120 + 1e-6
    for n, a in enumerate(boxes):
        for b in boxes[n + 1 :]:
            apart = (a.x + a.width <= b.x + 1e-6, b.x + b.width <= a.x + 1e-6)
            above = (a.y + a.height <= b.y + 1e-6, b.y + b.height <= a.y + 1e-6)
            assert any((*apart, *above))
    assert treemap([], Box(0, 0, 1, 1)) == []
    assert treemap([1.0], Box(0, 0, 0, 5)) == [Box(0, 0, 0, 0)]


def test_bars_stand_on_the_axis_and_the_largest_is_as_high_as_the_chart() -> None:
    [first, second] = bars([[("a", 4, "4"), ("b", -1, "-1")], [("a", 2, "2")]], Box(0, 10, 100, 50))
    assert [bar.box.height for bar in first] == [50, 0]
    assert second[0].box.height == 25
    assert {bar.box.y + bar.box.height for bar in (*first, *second)} == {60}
    assert bars([[("a", 0, "0")]], Box(0, 0, 1, 1))[0][0].box.height == 0
