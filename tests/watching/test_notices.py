"""People are told once of what is so, by HTTP and by mail, and a receiver that is away is tried again."""

from __future__ import annotations

import hashlib
import hmac
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog import notices
from storaged.catalog.engine import Catalog, create_catalog
from storaged.catalog.notices import Delivery, Notice
from storaged.catalog.schema_surveys import deliveries
from storaged.clock import DAY, SECOND
from storaged.config.notify import ReceiverSettings
from storaged.daemon import events
from storaged.daemon.receivers import deliver, send
from storaged.testing.clock import START_US as NOW
from storaged.work.context import Context
from storaged.work.show.measure import Measured, MeasuredRoom, measure
from storaged.work.show.notices import due, note
from tests.watching.scene import seeded

NOTICE = Notice("plan", "tidy", "a plan of <tidy> & co waits", "7 objects.")
TIDY = "tidy: 7 objects, $2.00 once, saves $5.00 a month"  # the scene's plan that waits
KEY = "a signing key"
DELIVERY = Delivery(5, "ops", 1, NOTICE, NOW, None)


class Hook(ThreadingHTTPServer):
    """A web server that takes POSTs. `answers`: statuses to come, then 200. `got`: (headers, body)."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.says = "said\x1b[31m"
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append((dict(self.headers), body))
                status = hook.answers.pop(0) if hook.answers else 200
                self.send_response(status)
                self.send_header("Location", f"{hook.url}/elsewhere")
                self.end_headers()
                self.wfile.write(hook.says.encode())

            def log_message(self, *_arguments: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"


class Mailbox(socketserver.ThreadingTCPServer):
    """A mail server that takes what it is given, or refuses everybody of `refused`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: list[str] = []
        self.refused = ""
        box = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                def say(line: str) -> None:
                    self.wfile.write(line.encode() + b"\r\n")

                say("220 here")
                while line := self.rfile.readline().decode().strip():
                    word = line.split()[0].upper()
                    if word == "DATA":
                        say("354 go on")
                        lines = []
                        while (text := self.rfile.readline()) != b".\r\n":
                            lines.append(text.decode())
                        box.got.append("".join(lines))
                        say("250 taken")
                    elif word == "QUIT":
                        say("221 bye")
                        return
                    elif word == "EHLO":
                        say("250-well\r\n250 AUTH PLAIN")
                    else:
                        say("550 nobody here" if box.refused and box.refused in line else "250 well")

        super().__init__(("127.0.0.1", 0), Handler)
        self.server = f"127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def hook() -> Iterator[Hook]:
    yield from served(Hook())


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    yield from served(Mailbox())


def served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def world(catalog: Catalog, tmp_path: Path) -> Context:
    return seeded(catalog, tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Context]:
    """On SQLite alone: what goes over the wire is the same on Postgres."""
    with create_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        yield seeded(catalog, tmp_path)


def told_by(context: Context, *receivers: ReceiverSettings) -> Context:
    settings = context.settings.model_copy(update={"notify": list(receivers)})
    return Context(settings, context.catalog, context.clock, actor="test")


def mail(server: str, **more: Any) -> ReceiverSettings:
    to = {"server": server, "sender": "lake@example.org", "to": ["ann@example.org", "bob@example.org"]}
    return ReceiverSettings.model_validate({"name": "ops", "format": "mail", "security": "none", **to, **more})


def found(context: Context, *known: tuple[str, str], measured: Measured | None = None) -> dict[tuple[str, str], Notice]:
    return {(n.kind, n.about): n for n in due(context, measured or measure(context), known)}


# -- what people are told of -------------------------------------------------------------------------------------------


def test_plans_suspensions_damage_and_nothing_else_of_the_scene_are_told(world: Context) -> None:
    told = found(world)
    assert sorted(told) == [
        ("damage", "1 originals, 1 blobs"),
        ("plan", TIDY),
        ("suspended", "dataset:elsewhere"),
        ("suspended", "policy:stopped"),
    ]
    assert "`storagectl apply 2` does it" in told["plan", TIDY].text
    assert "storagectl resume policy:stopped" in told["suspended", "policy:stopped"].text


def test_a_tier_is_told_of_from_its_high_mark_until_it_is_below_its_low_one(small: Context) -> None:
    measured = measure(small)

    def told(used: int, *known: tuple[str, str]) -> bool:
        rooms = (MeasuredRoom("cold", 100, None, used, 0.9, 0.8), MeasuredRoom("hot", None, None, used))
        return ("full", "cold") in found(small, *known, measured=replace(measured, rooms=rooms))

    assert (told(89), told(90)) == (False, True)
    assert (told(80, ("full", "cold")), told(79, ("full", "cold"))) == (True, False)


def test_what_is_there_counts_against_a_tiers_mark_as_it_does_for_its_capacity(small: Context) -> None:
    rooms = {room.tier: room for room in measure(small).rooms}
    assert (rooms["cold"].used_bytes, rooms["cold"].high, rooms["cold"].low) == (11, 0.9, 0.8)
    assert rooms["hot"].used_bytes == 10 + 100 + 200 + 20  # originals, kept through grace too


def test_a_log_that_tells_nothing_for_two_days_is_told_of(small: Context) -> None:
    measured = measure(small)
    for silent, said in ((2 * DAY, False), (2 * DAY + 1, True)):
        coverage = tuple(replace(c, until_us=measured.at_us - silent) for c in measured.coverage)
        told = found(small, measured=replace(measured, coverage=coverage))
        assert (("quiet", "nginx:events") in told) is said
        assert ("quiet", "retired:events") not in told


@pytest.mark.on_both
def test_each_is_told_once_to_those_who_want_it_and_again_when_it_comes_back(world: Context) -> None:
    context = told_by(
        world,
        ReceiverSettings(name="all", url="http://127.0.0.1:9"),
        ReceiverSettings(name="hurt", url="http://127.0.0.1:9", on=["damage"]),
    )
    measured = measure(context)
    assert (note(context, measured), note(context, measured)) == (4, 0)
    with world.catalog.read() as conn:
        ways = {told.notice.kind: [way[0] for way in told.ways] for told in notices.newest(conn, 9)}
    assert ways == {"damage": ["all", "hurt"], "plan": ["all"], "suspended": ["all"], "quiet": ["chat", "ops"]}
    assert note(context, replace(measured, backlog=())) == 0
    with world.catalog.read() as conn:
        assert ("plan", TIDY) not in notices.open_ones(conn)
        assert [t.over_us for t in notices.newest(conn, 9) if t.notice.kind == "plan"] == [NOW]
    assert note(context, measured) == 1


@pytest.mark.on_both
def test_of_two_daemons_that_note_at_once_one_tells(world: Context) -> None:
    new: list[int] = []

    def other() -> None:
        with world.catalog.begin() as conn:
            new.append(notices.note(conn, [NOTICE], {"ops": ["plan"]}, NOW))

    with world.catalog.begin() as conn:
        new.append(notices.note(conn, [NOTICE], {"ops": ["plan"]}, NOW))
        thread = threading.Thread(target=other)
        thread.start()  # on Postgres it finds the notice missing, and waits for this transaction to insert it
    thread.join()
    assert sorted(new) == [0, 1]
    with world.catalog.read() as conn:
        assert conn.execute(sa.select(deliveries.c.state)).scalars().all().count("waiting") == 1


# -- the outbox --------------------------------------------------------------------------------------------------------


@pytest.mark.on_both
def test_a_delivery_is_one_daemons_until_its_time_is_over_and_then_sent_once_more(world: Context) -> None:
    def take(now: int) -> Delivery | None:
        with world.catalog.begin() as conn:
            return notices.take(conn, now)

    with world.catalog.begin() as conn:
        notices.note(conn, [NOTICE], {"ops": ["plan"]}, NOW)
    first = take(NOW)
    assert first is not None
    assert (first.receiver, first.tries, first.notice) == ("ops", 1, NOTICE)
    assert take(NOW + notices.CLAIM_US - 1) is None
    second = take(NOW + notices.CLAIM_US)
    assert second is not None
    assert second.tries == 2
    with world.catalog.begin() as conn:
        notices.end(conn, first, "too late to count", NOW)
        notices.end(conn, second, None, NOW)
    assert take(NOW + DAY) is None
    with world.catalog.read() as conn:
        assert notices.newest(conn, 1)[0].ways == (("ops", "delivered", 2, ""),)


def test_who_is_away_is_tried_less_and_less_often_for_about_a_day(small: Context) -> None:
    with small.catalog.begin() as conn:
        notices.note(conn, [NOTICE], {"ops": ["plan"]}, NOW)
    now, at = NOW, []
    while True:
        with small.catalog.begin() as conn:
            tried = notices.take(conn, now)
            if tried is None:
                now = conn.execute(sa.select(deliveries.c.due_us).where(deliveries.c.state == "waiting")).scalar() or 0
                if not now:
                    break
                continue
            at.append((now - NOW) // SECOND)
            notices.end(conn, tried, "nobody answers", now)
    assert at[:8] == [0, 30, 90, 210, 450, 930, 1_890, 3_810]
    assert len(at) == notices.TRIES
    assert 20 < at[-1] / 3_600 < 28
    with small.catalog.read() as conn:
        assert notices.newest(conn, 1)[0].ways == (("ops", "failed", notices.TRIES, "nobody answers"),)


def test_a_daemon_delivers_what_waits_and_says_what_could_not_be(small: Context, hook: Hook) -> None:
    context = told_by(small, ReceiverSettings(name="ops", url=hook.url, on=["plan"]))
    with small.catalog.begin() as conn:
        notices.note(conn, [NOTICE], {"ops": ["plan"], "gone": ["plan"]}, NOW)
    heard: list[events.Event] = []
    hook.answers = [500]
    assert deliver(context, {}, heard.append)
    assert deliver(context, {}, heard.append)
    assert not deliver(context, {}, heard.append), "the next try is not due yet"
    gone = "it does not stand in `notify` any more"
    assert {(e.receiver, e.error, e.last) for e in heard if isinstance(e, events.Undelivered)} == {
        ("ops", "500: said\\x1b[31m", False),
        ("gone", gone, True),
    }
    small.clock.advance(31)  # type: ignore[attr-defined]
    assert deliver(context, {}, heard.append)
    assert len(heard) == 2
    with small.catalog.read() as conn:
        ways = notices.newest(conn, 1)[0].ways
    assert ways == (("gone", "failed", 1, gone), ("ops", "delivered", 2, ""))


# -- over the wire -----------------------------------------------------------------------------------------------------


def test_json_is_posted_with_a_signature_that_can_be_checked(hook: Hook) -> None:
    environ = {"STORAGED_NOTIFY_MY_OPS_SECRET": KEY}
    assert send(ReceiverSettings(name="my-ops", url=hook.url), DELIVERY, environ, NOW) is None
    [(headers, body)] = hook.got
    told = json.loads(body)
    assert told["subject"] == NOTICE.subject
    assert (told["id"], told["kind"], told["about"], told["over"]) == (5, "plan", "tidy", None)
    assert headers["Storaged-Notice"] == "5"
    stamp, mark = (part.split("=")[1] for part in headers["Storaged-Signature"].split(","))
    assert int(stamp) == NOW // SECOND
    assert hmac.new(KEY.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest() == mark
    assert send(ReceiverSettings(name="other", url=hook.url), DELIVERY, environ, NOW) is None
    assert "Storaged-Signature" not in hook.got[1][0]


def test_slack_gets_text_in_which_nothing_is_markup(hook: Hook) -> None:
    environ = {"STORAGED_NOTIFY_CHAT_URL": hook.url}
    assert send(ReceiverSettings(name="chat", format="slack"), DELIVERY, environ, NOW) is None
    assert json.loads(hook.got[0][1]) == {"text": "a plan of &lt;tidy&gt; &amp; co waits\n7 objects."}


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_every_answer_but_success_is_a_failure_and_no_redirect_is_followed(hook: Hook, status: int) -> None:
    hook.answers = [status]
    error = send(ReceiverSettings(name="ops", url=hook.url), DELIVERY, {}, NOW)
    assert error is not None
    assert error.startswith(f"{status}: said")
    assert len(hook.got) == 1


def test_what_goes_wrong_is_said_without_the_url_which_may_be_a_secret(hook: Hook) -> None:
    hidden = "http://127.0.0.1:9/services/T0/SECRET"
    error = send(ReceiverSettings(name="ops", format="slack"), DELIVERY, {"STORAGED_NOTIFY_OPS_URL": hidden}, NOW)
    assert error is not None
    assert "SECRET" not in error
    assert "has no url" in str(send(ReceiverSettings(name="ops"), DELIVERY, {}, NOW))
    file = send(ReceiverSettings(name="ops"), DELIVERY, {"STORAGED_NOTIFY_OPS_URL": "file:///etc/passwd"}, NOW)
    assert "none of http" in str(file)
    assert hook.got == []


def test_mails_go_to_everybody_and_no_subject_makes_a_header(mailbox: Mailbox) -> None:
    told = replace(DELIVERY, notice=replace(NOTICE, subject="a\r\nBcc: eve@example.org", text="ein Ü\n.\nmore"))
    assert send(mail(mailbox.server), told, {}, NOW) is None
    [message] = mailbox.got
    head, _, _ = message.partition("\r\n\r\n")
    assert "To: ann@example.org, bob@example.org" in head
    assert "Subject: storaged: a\\r\\nBcc: eve@example.org" in head
    assert "\nBcc" not in head
    assert f"Message-ID: <storaged.5.{NOW}@example.org>" in head


def test_a_mail_server_that_refuses_or_cannot_keep_a_secret_is_said(mailbox: Mailbox) -> None:
    mailbox.refused = "ann@"
    assert send(mail(mailbox.server, to=["ann@example.org"]), DELIVERY, {}, NOW) is not None
    mailbox.refused = "STARTTLS"
    error = send(mail(mailbox.server, security="starttls"), DELIVERY, {}, NOW)
    assert "STARTTLS" in str(error)
    assert send(mail("127.0.0.1:9"), DELIVERY, {}, NOW) is not None
    assert mailbox.got == []


def test_a_person_can_try_a_receiver_and_see_what_was_told(
    tmp_path: Path, hook: Hook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from storaged.cli.app import run

    ran: Callable[..., int] = lambda *words: run(["--config", str(tmp_path / "storaged.yaml"), "notify", *words])  # noqa: E731
    with create_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        seeded(catalog, tmp_path)
        with catalog.begin() as conn:
            notices.note(conn, [NOTICE], {"ops": ["plan"]}, NOW)
    assert ran("test") == 2
    config = tmp_path / "storaged.yaml"
    config.write_text(config.read_text() + f"notify: [{{name: ops, url: '{hook.url}'}}]\n")
    assert ran("test") == 0
    assert json.loads(hook.got[0][1])["kind"] == "test"
    hook.answers = [503]
    assert ran("test", "ops") == 1
    assert "503: said" in capsys.readouterr().out
    assert ran("test", "opps") == 2
    assert "ops" in capsys.readouterr().err
    assert ran("list") == 0
    assert "a plan of <tidy> & co waits" in capsys.readouterr().out
