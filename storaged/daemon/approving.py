"""Plans approved in the browser: who may, and that it was they who sent the form.

Browsers send a password to whatever page asks them to send a form here, so the password alone proves nothing. A form
counts where the browser says that it comes from a page of ours (Origin, or else Referer, and Sec-Fetch-Site where it
has it), with a mark that only that page had: HMAC-SHA256, under a key of this process, of who was shown which plan and
until when. Each mark counts once.

What is asked for lies below /approve/, so that browsers keep this password apart from that of the other pages.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from storaged.catalog import approvals
from storaged.clock import SECOND, Clock
from storaged.daemon.pages.planned import may_be_decided
from storaged.daemon.pages.site import Answer, Site, asked, link, told
from storaged.daemon.pages.view import View, WebPage, number
from storaged.decide.summary import money_words
from storaged.errors import RefusedByGuard, UsageError
from storaged.work.plan.make import load_plan
from storaged.work.rewrite import approve

PATH: Final = "/approve/plan"
LEAST: Final = 20  # characters of a token
GOOD_US: Final = 600 * SECOND  # how long a form can be sent
TRIES: Final = 10  # wrong tokens from one address within TRIES_US, then none of its tokens is looked at
TRIES_US: Final = 60 * SECOND
_ADDRESSES: Final = 1_000  # that are remembered
_FIELDS: Final = ("plan", "hash", "until", "once", "mark", "verb")
_BODY: Final = 4_096  # bytes of a form

Headers = Mapping[str, str]


class _Ends(Exception):
    """An answer that ends the matter."""

    def __init__(self, answer: Answer, headers: Headers | None = None) -> None:
        super().__init__(answer[0])
        self.answer = answer
        self.headers = headers or {}


class Approving:
    """What is at PATH. `approvers`: token by name; `others`: the token with which people may only look; `url`: where
    they see the pages, if that is not here. Safe for threads."""

    def __init__(
        self, approvers: Mapping[str, str], site: Site, clock: Clock, *, others: str | None, url: str | None = None
    ) -> None:
        self._approvers = {name: token.encode() for name, token in approvers.items()}
        self._site = site
        self._clock = clock
        self._others = None if others is None else others.encode()
        self._url = None if url is None else _origin(url)
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, list[int]] = OrderedDict()  # by address, when it showed a wrong token
        self._used: dict[str, int] = {}  # marks that were sent, until when they would be good

    def answer(self, environ: Mapping[str, Any]) -> tuple[Answer, Headers]:
        """What is to be answered, with headers of its own. A GET changes nothing."""
        try:
            match environ["REQUEST_METHOD"]:
                case "GET" | "HEAD":
                    return self._form(environ), {"Referrer-Policy": "same-origin"}  # else browsers hide the Origin
                case "POST":
                    return self._sent(environ)
            wrong = told("405 Method Not Allowed", "Not so", "GET, HEAD and POST only")
            return wrong, {"Allow": "GET, HEAD, POST"}
        except _Ends as ended:
            return ended.answer, ended.headers

    # -- who ---------------------------------------------------------------------------------------------------------

    def _who(self, environ: Mapping[str, Any], *, sends: bool) -> str:
        """The approver whose token is shown. Raises _Ends. `sends`: a form, and not only a look at it."""
        address, now_us = str(environ.get("REMOTE_ADDR", "")), self._clock.now_us()
        if self._too_many(address, now_us):
            words = "too many wrong tokens came from your address; wait a minute"
            raise _Ends(told("429 Too Many Requests", "Wait", words), {"Retry-After": str(TRIES_US // SECOND)})
        shown = shown_token(environ)
        found = [name for name, token in self._approvers.items() if hmac.compare_digest(shown, token)]
        if found:
            return found[0]
        looks = self._others is not None and hmac.compare_digest(shown, self._others)
        if looks and sends:
            raise _Ends(told("403 Forbidden", "Not yours", "with this token you may look, and decide nothing"))
        if shown and not looks:
            self._note_wrong(address, now_us)
        words = "the password is an approver's token, of any user"
        raise _Ends(
            told("401 Unauthorized", "Who are you?", words),
            {"WWW-Authenticate": 'Basic realm="storaged approvers", charset="UTF-8"'},
        )

    def _too_many(self, address: str, now_us: int) -> bool:
        with self._lock:
            lately = [at for at in self._wrong.get(address, ()) if now_us - TRIES_US < at <= now_us]
            if lately:
                self._wrong[address] = lately
            else:
                self._wrong.pop(address, None)
            return len(lately) >= TRIES

    def _note_wrong(self, address: str, now_us: int) -> None:
        with self._lock:
            self._wrong.setdefault(address, []).append(now_us)
            self._wrong.move_to_end(address)
            while len(self._wrong) > _ADDRESSES:
                self._wrong.popitem(last=False)

    # -- the form ----------------------------------------------------------------------------------------------------

    def _form(self, environ: Mapping[str, Any]) -> Answer:
        who = self._who(environ, sends=False)

        def shown(view: View) -> WebPage:
            chosen = number(asked(environ.get("QUERY_STRING", "")), "plan")
            if chosen is None:
                raise UsageError("that address names no plan", hint="follow the links of the pages")
            plan = load_plan(view.context.catalog, chosen)
            with view.context.catalog.read() as conn:
                said = approvals.of_plan(conn, plan.id)
                newer = approve.followed(conn, {plan.id: plan.policies}).get(plan.id)
            if newer is not None:
                raise RefusedByGuard(f"plan {newer} followed plan {plan.id}", hint=f"look at plan {newer}")
            if not may_be_decided(plan, said, newer):
                raise RefusedByGuard(f"nothing is to be decided about plan {plan.id}: it is {plan.state}")
            until_us = self._clock.now_us() + GOOD_US
            fields = {"plan": str(plan.id), "hash": plan.hash, "until": str(until_us), "once": secrets.token_hex(16)}
            fields["mark"] = self._mark(who, fields)
            money = plan.summary.money
            values = {
                "plan": plan,
                "approver": who,
                "fields": fields,
                "until_us": until_us,
                "lines": list(plan.summary.lines()),
                "money": money_words(money) if money else None,
                "action": PATH,
            }
            return WebPage("approve.html", f"Approve plan {plan.id}", values)

        return self._site.made(PATH, shown)

    def _mark(self, who: str, fields: Mapping[str, str]) -> str:
        said = "\0".join((who, *(fields[name] for name in ("plan", "hash", "until", "once"))))
        return hmac.new(self._key, said.encode(), "sha256").hexdigest()

    # -- what was sent -----------------------------------------------------------------------------------------------

    def _sent(self, environ: Mapping[str, Any]) -> tuple[Answer, Headers]:
        who = self._who(environ, sends=True)
        if not self._from_here(environ):
            words = "this form did not come from a page of this daemon"
            raise _Ends(told("403 Forbidden", "Not from here", words))
        fields = _fields(environ)
        plan_id = int(fields["plan"])
        self._spend(who, fields)

        def done(view: View) -> WebPage:
            if who not in [one.name for one in view.context.settings.daemon.approvers]:
                raise RefusedByGuard(f"{who} approves no plans any more")
            verb: approvals.Verb = "apply" if fields["verb"] == "apply" else "discard"
            approve.ask(view.context, plan_id, fields["hash"], verb, who)
            return WebPage("told.html", "Noted", {"message": "it is noted", "hint": None})

        answer = self._site.made(PATH, done)
        if not answer[0].startswith("200"):
            return answer, {}
        seen = told("303 See Other", "Noted", "it is noted")
        return seen, {"Location": link("/plans", plan=plan_id)}

    def _from_here(self, environ: Mapping[str, Any]) -> bool:
        """Whether a browser says that a page of ours sent this. A proxy must pass on `Host` as it came, or stand as
        `daemon.url`."""
        if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") != "same-origin":
            return False
        host = str(environ.get("HTTP_HOST", "")).lower()
        ours = {f"http://{host}", f"https://{host}"} if host else set()
        said = environ.get("HTTP_ORIGIN") or environ.get("HTTP_REFERER") or ""
        return _origin(str(said)) in ours | ({self._url} if self._url else set())

    def _spend(self, who: str, fields: Mapping[str, str]) -> None:
        """Take a form's mark, which counts once. Raises _Ends."""
        now_us, again = self._clock.now_us(), "load the plan's page again"
        if not hmac.compare_digest(fields["mark"], self._mark(who, fields)):
            words = "this form is none that this daemon made for you since it started"
            raise _Ends(told("403 Forbidden", "Not ours", words, again))
        until_us = int(fields["until"])
        if until_us < now_us:
            raise _Ends(told("403 Forbidden", "Too late", "this form is too old", again))
        with self._lock:
            self._used = {mark: until for mark, until in self._used.items() if until >= now_us}
            if fields["mark"] in self._used:
                raise _Ends(told("409 Conflict", "Once only", "this form was sent already", again))
            self._used[fields["mark"]] = until_us


def shown_token(environ: Mapping[str, Any]) -> bytes:
    """What a client shows for itself: a bearer's token, or the password of any user (RFC 7617). Empty: nothing."""
    scheme, _, shown = str(environ.get("HTTP_AUTHORIZATION", "")).strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return shown.strip().encode("latin-1")
        case "basic":
            try:
                return base64.b64decode(shown.strip(), validate=True).partition(b":")[2]
            except ValueError:
                return b""
    return b""


def _origin(url: str) -> str:
    """Scheme, host and port of a URL; empty where it has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.scheme in ("http", "https") else ""


def _fields(environ: Mapping[str, Any]) -> Mapping[str, str]:
    """The fields of a form, each there once. Raises _Ends."""
    refused = _Ends(
        told("400 Bad Request", "No form", "that is no form of this daemon", "follow the links of the pages")
    )
    kind = str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise refused
    body = environ["wsgi.input"].read(_BODY + 1)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=20
        )
    except ValueError:
        raise refused from None
    fields = dict(pairs)
    numbers = all(fields.get(name, "").isascii() and fields.get(name, "").isdigit() for name in ("plan", "until"))
    known = len(body) <= _BODY and len(pairs) == len(_FIELDS) and set(fields) == set(_FIELDS)
    if not (known and numbers and fields["verb"] in ("apply", "discard") and fields["mark"].isascii()):
        raise refused
    if any(len(fields[name]) > 19 for name in ("plan", "until")):
        raise refused
    return fields
