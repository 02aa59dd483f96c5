"""What was approved in the browser is done by the daemon that leads: exactly that plan, once, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from storaged.catalog import approvals
from storaged.catalog.schema import audit, jobs, plan_items, plans
from storaged.catalog.schema_money import ledger
from storaged.daemon.approving import PATH
from storaged.work.plan.make import Plan, discard_plan, load_plan, make_plan
from storaged.work.rewrite import approve
from storaged.work.rewrite.apply import apply_plan
from tests.daemon.farm import HOUR, Daemon, Farm
from tests.daemon.processes import wait_for
from tests.daemon.site import Site
from tests.watching.test_approving import Approver

APPROVERS = "approvers: [{name: ann}]\n"


def planned(farm: Farm) -> Plan:
    """What the policies want now, saved."""
    settings, policies = farm.load()
    return make_plan(farm.catalog, settings, policies, farm.clock)


def ready(farm: Farm) -> tuple[Daemon, Plan]:
    """A daemon that leads, and a plan of two objects that waits."""
    farm.configure(daemon=APPROVERS)
    farm.write("a.csv", "b.csv")
    farm.policy(mode="dry-run")
    daemon = farm.daemon()
    daemon.turns()
    return daemon, planned(farm)


def moved(farm: Farm) -> int:
    with farm.catalog.read() as conn:
        return len(conn.execute(sa.select(audit).where(audit.c.kind == "swap")).all())


def said(farm: Farm, plan: Plan) -> tuple[str, str]:
    with farm.catalog.read() as conn:
        found = approvals.of_plan(conn, plan.id)
    assert found is not None
    return found.state, found.note


def test_the_leader_applies_what_was_approved_and_the_ledger_names_who(farm: Farm) -> None:
    daemon, plan = ready(farm)
    farm.clock.advance(10)
    other = farm.daemon()
    other.wakes()
    assert not other.leading
    approve.ask(farm.context(), plan.id, plan.hash, "apply", "ann")
    other.carry_out()
    assert said(farm, plan) == ("waiting", "")
    daemon.carry_out()
    assert said(farm, plan) == ("done", "2 objects queued in 1 job")
    daemon.carry_out()
    assert daemon.does_jobs() == 1
    assert moved(farm) == 2
    with farm.catalog.read() as conn:
        assert conn.execute(sa.select(ledger.c.actor)).scalars().all() == ["approver:ann"]


def test_what_is_to_be_discarded_is_and_can_not_be_applied_then(farm: Farm) -> None:
    daemon, plan = ready(farm)
    approve.ask(farm.context(), plan.id, plan.hash, "discard", "ann")
    daemon.carry_out()
    assert said(farm, plan) == ("done", "discarded")
    assert load_plan(farm.catalog, plan.id).state == "discarded"
    assert farm.count(jobs) == 0


def _row_changed(farm: Farm, plan: Plan) -> None:
    with farm.catalog.begin() as conn:
        conn.execute(sa.update(plan_items).where(plan_items.c.plan_id == plan.id).values(codec="parquet"))


def _digest_changed(farm: Farm, plan: Plan) -> None:
    with farm.catalog.begin() as conn:
        conn.execute(sa.update(plans).where(plans.c.id == plan.id).values(hash="0" * 64))


STALE: dict[str, tuple[Callable[[Farm, Plan], object], str]] = {
    "a row": (_row_changed, "is not what its policies and rows are now"),
    "a policy": (lambda farm, _: farm.policy(mode="dry-run", more="rest: 1d\n"), "is not what its policies"),
    "a digest": (_digest_changed, "is not the one that was shown"),
    "a newer plan": (lambda farm, _: planned(farm), "is newer, and of the same policy"),
    "discarded": (lambda farm, plan: discard_plan(farm.catalog, plan.id), "is discarded"),
    "no approver": (lambda farm, _: farm.configure(), "ann approves no plans any more"),
    "late": (lambda farm, _: farm.clock.advance(HOUR + 1), "nothing was done for 60 minutes"),
}


@pytest.mark.parametrize(("change", "why"), STALE.values(), ids=list(STALE))
def test_what_changed_after_it_was_approved_is_not_done(
    farm: Farm, change: Callable[[Farm, Plan], object], why: str
) -> None:
    daemon, plan = ready(farm)
    approve.ask(farm.context(), plan.id, plan.hash, "apply", "ann")
    change(farm, plan)
    daemon.reload()
    daemon.wakes()
    daemon.carry_out()
    state, note = said(farm, plan)
    assert (state, why in note) == ("refused", True), note
    assert farm.count(jobs) == 0
    assert load_plan(farm.catalog, plan.id).state in ("saved", "discarded")


def test_a_daemon_that_died_in_the_midst_of_it_is_followed_by_another(farm: Farm) -> None:
    daemon, plan = ready(farm)
    approve.ask(farm.context(), plan.id, plan.hash, "apply", "ann")
    apply_plan(farm.context(), plan.id, farm.load()[1])  # and could not say so
    farm.clock.advance(HOUR + 1)
    daemon.wakes()
    daemon.carry_out()
    assert said(farm, plan) == ("done", "applied")
    assert farm.count(jobs) == 1


def test_what_a_limit_refuses_stays_and_is_asked_for_again(farm: Farm) -> None:
    daemon, plan = ready(farm)
    context = farm.context()
    approve.ask(context, plan.id, plan.hash, "apply", "ann")
    with farm.catalog.begin() as conn:
        conn.execute(
            sa.text(
                "INSERT INTO suspensions (kind, name, reason, since_us, actor) VALUES ('policy', 'move', 'r', 0, 't')"
            )
        )
    daemon.carry_out()
    assert said(farm, plan) == ("refused", "policy move is suspended: r")
    with farm.catalog.begin() as conn:
        conn.execute(sa.text("DELETE FROM suspensions"))
    farm.clock.advance(1)
    approve.ask(context, plan.id, plan.hash, "apply", "ann")
    daemon.carry_out()
    assert said(farm, plan)[0] == "done"


@pytest.mark.timeout(600)
def test_a_daemon_moves_what_a_person_approves_in_the_browser(site: Site) -> None:
    """With a process: what the configuration, the token's file and the threads come to."""
    token = site.place / "ann.token"
    token.write_text("ann-0123456789-abcdef\n")
    token.chmod(0o600)
    site.configure(daemon=f"approvers: [{{name: ann, token_file: {token}}}]\n")
    site.write("a.csv")
    site.policy(mode="dry-run")
    daemon = site.ready(site.start())
    daemon.hears("task done", task="scan:lake")
    number = json.loads(site.ctl("plan", "--json")[1])["plan"]
    assert f"{PATH}?plan={number}" in daemon.get("/plans")[1]
    browser = Approver(site, "ann-0123456789-abcdef")
    assert browser.send(browser.fields(number)) == 303
    daemon.hears("approval done", plan=number, approver="ann")
    wait_for(lambda: site.moved() == 1, "it is moved")
    assert "ann said" in daemon.get(f"/plans?plan={number}")[1]
    assert daemon.stops() == 0
    assert "ann-0123456789" not in daemon.log.read_text()
