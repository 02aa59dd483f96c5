"""Plans approved in the browser, over real sockets: by whom, by which form, and never by a look at it."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from storaged.catalog import approvals
from storaged.catalog.approvals import Approval
from storaged.catalog.engine import open_catalog
from storaged.catalog.schema import audit, plans
from storaged.clock import SECOND
from storaged.config.service import ApproverSettings
from storaged.daemon.approving import GOOD_US, PATH, TRIES, Approving
from storaged.daemon.web import Web
from storaged.errors import RefusedByGuard
from storaged.testing.clock import START_US as NOW
from storaged.work.context import Context
from storaged.work.rewrite import approve
from tests.daemon.site import Site
from tests.watching.scene import seeded
from tests.watching.test_site import Elements, site_of

ANN, BOB, LOOKS = "ann-0123456789-abcdef", "bob-0123456789-abcdef", "looks-0123456789-abcdef"
DIGEST = "ab" * 32


class Approver:
    """A browser of somebody who has a token, and what a page at hand made of it."""

    def __init__(self, web: Web | Site, token: str | None = ANN) -> None:
        self.web = web
        self.here = f"http://127.0.0.1:{web.port}"
        shown = base64.b64encode(f"me:{token}".encode()).decode()
        self.headers = {"Origin": self.here} | ({} if token is None else {"Authorization": f"Basic {shown}"})

    def ask(self, method: str, path: str, body: str | None = None, **more: str | None) -> tuple[int, str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web.port, timeout=20)
        headers: dict[str, str | None] = {**self.headers}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        try:
            connection.request(method, path, body, {name: v for name, v in headers.items() if v is not None})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers
        finally:
            connection.close()

    def fields(self, plan: int = 2) -> dict[str, str]:
        """What the page's form would send."""
        status, page, _ = self.ask("GET", f"{PATH}?plan={plan}")
        assert status == 200, page
        found, name = {}, ""
        for key, value in Elements(page).attributes:
            if key == "name":
                name = str(value)
            elif key == "value" and name != "verb":
                found[name] = str(value)
        return found

    def send(self, fields: dict[str, str], /, verb: str = "apply", **more: str | None) -> int:
        return self.ask("POST", PATH, urlencode({**fields, "verb": verb}), **more)[0]


def with_approvers(scene: Context) -> Context:
    """The scene with two people who may approve, and a digest for its plan 2."""
    approvers = [ApproverSettings(name="ann"), ApproverSettings(name="bob")]
    daemon = scene.settings.daemon.model_copy(update={"approvers": approvers})
    with scene.catalog.begin() as conn:
        conn.execute(sa.update(plans).where(plans.c.id == 2).values(hash=DIGEST))
    return Context(scene.settings.model_copy(update={"daemon": daemon}), scene.catalog, scene.clock, actor="daemon")


@pytest.fixture
def world(tmp_path: Path, sqlite_template: Path) -> Iterator[Context]:
    """On SQLite alone: what is written is tried on both with daemons. Plan 2 waits."""
    shutil.copyfile(sqlite_template, tmp_path / "catalog.db")
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        yield with_approvers(seeded(catalog, tmp_path))


Started = Callable[..., Web]


@pytest.fixture
def started(world: Context) -> Iterator[Started]:
    running: list[Web] = []

    def start(*, on: bool = True, token: str | None = None, url: str | None = None) -> Web:
        site = site_of(world, approves=on)
        approving = Approving({"ann": ANN, "bob": BOB}, site, world.clock, others=token, url=url) if on else None

        def well() -> tuple[bool, str]:
            return True, "ok"

        registry = CollectorRegistry()
        web = Web("127.0.0.1:0", token, healthy=well, ready=well, registry=registry, site=site, approving=approving)
        running.append(web)
        web.start()
        return web

    yield start
    for web in running:
        web.stop()


def said(world: Context) -> Approval | None:
    with world.catalog.read() as conn:
        return approvals.of_plan(conn, 2)


def audited(world: Context) -> list[Any]:
    with world.catalog.read() as conn:
        return list(conn.execute(sa.select(audit).where(audit.c.kind == "approve")).all())


def test_where_nobody_approves_there_is_no_form_and_nothing_takes_one(world: Context, started: Started) -> None:
    browser = Approver(started(on=False))
    for path in ("/plans", "/plans?plan=2"):
        assert PATH not in browser.ask("GET", path)[1]
    assert browser.ask("GET", f"{PATH}?plan=2")[0] == 404
    assert browser.send({"plan": "2"}) == 405
    assert said(world) is None


def test_a_plan_is_approved_by_its_form_once_and_the_audit_names_who(world: Context, started: Started) -> None:
    browser = Approver(started())
    for path in ("/plans", "/plans?plan=2"):
        assert f"{PATH}?plan=2" in browser.ask("GET", path)[1]
    fields = browser.fields()
    assert said(world) is None, "a look changes nothing"
    assert browser.ask("HEAD", f"{PATH}?plan=2&verb=apply")[:2] == (200, "")
    assert browser.ask("GET", f"{PATH}?{urlencode({**fields, 'verb': 'apply'})}")[0] == 200
    assert said(world) is None, "nor does a form that is sent as one"
    status, _, headers = browser.ask("POST", PATH, urlencode({**fields, "verb": "apply"}))
    assert (status, headers["Location"]) == (303, "/plans?plan=2")
    assert said(world) == Approval(2, "apply", DIGEST, "ann", NOW)
    assert browser.send(fields) == 409, "once only"
    assert browser.ask("GET", f"{PATH}?plan=2")[0] == 409
    page = browser.ask("GET", "/plans?plan=2")[1]
    assert "ann said" in page
    assert PATH not in page
    [row] = audited(world)
    assert (row.actor, row.object, row.plan_id) == ("approver:ann", "plan:2", 2)
    assert json.loads(row.detail) == {"verb": "apply", "hash": DIGEST, "policies": ["tidy"]}
    with world.catalog.read() as conn:
        told = " ".join(str(r) for r in conn.execute(sa.select(audit)).all())
    assert not any(token in told + page for token in (ANN, BOB))


def test_the_page_says_everything_and_keeps_to_our_policy(started: Started) -> None:
    status, page, headers = Approver(started()).ask("GET", f"{PATH}?plan=2")
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin", "with no-referrer a browser would not say where a form is from"
    found = Elements(page)
    assert "script" not in found.tags
    text = " ".join(found.text.split())
    assert "You are ann" in text
    assert DIGEST in text
    assert "7 objects" in text
    assert "$2.00 once" in text


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Origin": "https://evil.example"}, "another site"),
        ({"Origin": "null"}, "a frame without an origin, or a page that hides it"),
        ({"Origin": "http://127.0.0.1:1"}, "another port of this machine"),
        ({"Origin": "http://127.0.0.1.evil.example"}, "a name that begins alike"),
        ({"Origin": None}, "nothing says where it is from"),
        ({"Origin": None, "Referer": "https://evil.example/http://127.0.0.1"}, "another site's page"),
        ({"Origin": "http://[", "Referer": "http://127.0.0.1"}, "no origin at all"),
        ({"Sec_Fetch_Site": "cross-site"}, "a browser that says so"),
        ({"Sec_Fetch_Site": "same-site"}, "a neighbour"),
    ],
)
def test_a_form_from_elsewhere_does_nothing_whatever_it_has(
    world: Context, started: Started, headers: dict[str, Any], why: str
) -> None:
    browser = Approver(started())
    assert browser.send(browser.fields(), **headers) == 403, why
    if headers.get("Origin"):
        assert browser.send(browser.fields(), **{"Referer": f"{browser.here}/", **headers}) == 403, (
            "Origin counts first"
        )
    assert said(world) is None


def test_where_a_browser_says_it_by_its_referer_or_comes_through_a_proxy(started: Started) -> None:
    browser = Approver(started())
    assert browser.send(browser.fields(), Origin=None, Referer=f"{browser.here}{PATH}?plan=2") == 303
    browser = Approver(started(url="https://lake.example.org/storage"), BOB)
    with pytest.raises(AssertionError, match="nothing is to be decided"):
        browser.fields()


def test_what_a_proxy_calls_these_pages_is_said_in_the_configuration(world: Context, started: Started) -> None:
    lake = "https://lake.example.org"
    browser = Approver(started())
    assert browser.send(browser.fields(), Origin=lake) == 403
    browser = Approver(started(url=f"{lake}/"))
    assert browser.send(browser.fields(), Origin=lake) == 303
    assert said(world) is not None


@pytest.mark.parametrize("name", ["plan", "hash", "until", "once", "mark"])
def test_a_form_of_which_anything_was_changed_is_none_of_ours(world: Context, started: Started, name: str) -> None:
    browser = Approver(started())
    fields = browser.fields()
    other = {"plan": "1", "until": str(int(fields["until"]) + 1)}.get(name, fields[name][::-1] + "0")
    assert browser.send({**fields, name: other}) == 403
    assert said(world) is None


def test_a_form_is_who_it_was_made_fors_and_of_this_daemon_and_of_now(world: Context, started: Started) -> None:
    web = started()
    ann, bob = Approver(web), Approver(web, BOB)
    assert bob.send(ann.fields()) == 403
    other = Approver(started())
    assert ann.send(other.fields()) == 403, "another process has another key"
    fields = ann.fields()
    world.clock.advance(GOOD_US / SECOND + 1)  # type: ignore[attr-defined]
    assert ann.send(fields) == 403
    assert said(world) is None
    assert bob.send(bob.fields(), "discard") == 303
    assert said(world) == Approval(2, "discard", DIGEST, "bob", NOW + GOOD_US + SECOND)


def test_what_is_no_form_is_refused(world: Context, started: Started) -> None:
    browser = Approver(started())
    fields = browser.fields()
    whole = urlencode({**fields, "verb": "apply"})
    for body in ("", "plan=2", whole + "&verb=discard", whole + "&more=1", whole.replace("apply", "Apply"), "\xff=1"):
        assert browser.ask("POST", PATH, body)[0] == 400, body
    assert browser.ask("POST", PATH, whole.replace("plan=2", "plan=" + "2" * 30))[0] == 400
    assert browser.ask("POST", PATH, whole + "&mark=" + "a" * 8_000)[0] == 400
    assert browser.ask("POST", PATH, json.dumps(fields), Content_Type="application/json")[0] == 400
    assert browser.ask("POST", PATH, whole, Content_Type="text/plain")[0] == 400
    assert browser.ask("PUT", PATH, whole)[0] == 405
    assert browser.ask("POST", "/plans", whole)[0] == 405
    assert browser.ask("GET", f"{PATH}?plan=99")[0] == 404
    assert browser.ask("GET", PATH)[0] == 404
    assert said(world) is None


def test_whoever_has_no_such_token_sees_no_form_and_sends_none(world: Context, started: Started) -> None:
    web = started(token=LOOKS)
    fields = Approver(web).fields()
    for token, get, post in ((None, 401, 401), ("wrong", 401, 401), (LOOKS, 401, 403), (ANN + "x", 401, 401)):
        other = Approver(web, token)
        status, page, headers = other.ask("GET", f"{PATH}?plan=2")
        assert (status, other.send(fields)) == (get, post), token
        assert headers["WWW-Authenticate"].startswith('Basic realm="storaged approvers"')
        assert DIGEST not in page
    assert said(world) is None
    assert Approver(web).ask("GET", "/plans")[0] == 401, "to approve is one right, to look another"
    assert Approver(web).send(fields) == 303


def test_wrong_tokens_are_looked_at_a_few_times_a_minute_and_then_no_token_is(world: Context, started: Started) -> None:
    web = started()
    right, wrong = Approver(web), Approver(web, "wrong")
    for _ in range(TRIES):
        assert wrong.ask("GET", f"{PATH}?plan=2")[0] == 401
    status, _, headers = right.ask("GET", f"{PATH}?plan=2")
    assert (status, headers["Retry-After"]) == (429, "60")
    assert wrong.ask("POST", PATH, "x")[0] == 429
    world.clock.advance(61)  # type: ignore[attr-defined]
    assert right.send(right.fields()) == 303


def test_a_plan_that_is_not_the_one_that_was_shown_is_refused(world: Context, started: Started) -> None:
    browser = Approver(started())
    fields = browser.fields()
    with world.catalog.begin() as conn:
        conn.execute(sa.update(plans).where(plans.c.id == 2).values(hash="cd" * 32))
    assert browser.send(fields) == 409
    fields = browser.fields()
    with world.catalog.begin() as conn:
        conn.execute(sa.update(plans).where(plans.c.id == 3).values(policies='["other", "tidy"]'))
    assert browser.send(fields) == 409, "plan 3 is newer"
    with world.catalog.begin() as conn:
        conn.execute(sa.update(plans).where(plans.c.id == 2).values(state="applied"))
    with pytest.raises(RefusedByGuard, match="plan 2 is applied"):
        approve.ask(world, 2, "cd" * 32, "discard", "ann")
    assert said(world) is None
    assert audited(world) == []


def test_somebody_who_is_no_approver_any_more_is_none(world: Context, started: Started) -> None:
    browser = Approver(started())
    fields = browser.fields()
    world.settings.daemon.approvers.pop(0)
    assert browser.send(fields) == 409
    assert said(world) is None


def test_what_was_refused_can_be_asked_for_again_and_nothing_else(world: Context) -> None:
    first = Approval(2, "apply", DIGEST, "ann", NOW)
    with world.catalog.begin() as conn:
        assert approvals.ask(conn, first)
        assert not approvals.ask(conn, replace(first, approver="bob"))
        assert approvals.end(conn, first, "refused", "it was late", NOW + 1)
        assert not approvals.end(conn, first, "done", "twice", NOW + 2)
        assert approvals.ask(conn, replace(first, approver="bob", asked_us=NOW + 3))
        assert not approvals.end(conn, first, "done", "another one's", NOW + 4)
        assert [one.approver for one in approvals.waiting(conn)] == ["bob"]
