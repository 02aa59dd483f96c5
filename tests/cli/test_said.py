"""What commands say and ask: hints that fit, globs, questions with the money in them."""

from __future__ import annotations

import pytest

from tests.cli.lake import NAMES, POLICY, Lake


def test_a_number_is_no_object_to_undo_and_the_hint_says_whose_number_it_may_be(lake: Lake) -> None:
    lake.moved()
    answer = lake.ctl("undo", "1")
    assert answer.code == 2
    assert "`storagectl undo --job 1`" in answer.err


@pytest.mark.parametrize("of", ["--job", "--plan"])
def test_what_a_job_or_plan_did_is_taken_back_after_a_yes(lake: Lake, of: str) -> None:
    lake.moved()
    asked = lake.ctl("undo", of, "1")
    assert (asked.code, f"{len(NAMES)} objects" in asked.err, "--yes" in asked.err) == (2, True, True)
    assert len(lake.good("undo", of, "1", "--yes", "--json").json["done"]) == len(NAMES)


def test_apply_asks_with_the_money(lake: Lake) -> None:
    text = lake.config.read_text()
    for name, prices in (("hot", "standard"), ("warm", "standard-ia"), ("cold", "glacier-ir")):
        text = text.replace(f'/{name}"}}', f'/{name}", prices: aws/us-east-1/{prices}}}')
    lake.config.write_text(text)
    lake.fill()
    lake.good("plan")
    asked = lake.ctl("apply", "1")
    assert asked.code == 2
    assert " once, " in asked.err
    assert " a month, " in asked.err


def test_ls_takes_globs(lake: Lake) -> None:
    lake.fill("a/1.csv", "a/2.csv", "b/1.csv", "a/[x].csv")
    assert [e["path"] for e in lake.good("ls", "lake/*/1.csv", "--json").json] == ["lake/a/1.csv", "lake/b/1.csv"]
    assert [e["path"] for e in lake.good("ls", "lake/a/[x].csv", "--json").json] == ["lake/a/[x].csv"]
    assert lake.ctl("ls", "lake/c*").code == 1
    assert [e["path"] for e in lake.good("ls", "l*", "--json").json] == ["lake"]
    assert [e["path"] for e in lake.good("ls", "*/b/?.csv", "--json").json] == ["lake/b/1.csv"]
    assert lake.ctl("ls", "m*").code == 1


def test_cost_counts_objects_and_not_their_places(lake: Lake) -> None:
    lake.moved()
    total = lake.good("cost", "--json").json["total"]
    assert (total["objects"], total["places"]) == (len(NAMES), 2 * len(NAMES))


@pytest.mark.parametrize("text", ["tiers: [", "tiers: 5\n"])
def test_what_is_shipped_is_shown_whatever_is_wrong_with_the_configuration(lake: Lake, text: str) -> None:
    lake.config.write_text(text)
    answer = lake.good("prices", "show", "aws/us-east-1/glacier")
    assert "0.0036" in answer.out
    assert "the shipped price books only: " in answer.err


@pytest.mark.parametrize(
    ("amount", "written"), [("5", "5 USD"), ("$12.50", "12.50 USD"), ("7usd", "7 USD"), ("much", "50 USD")]
)
def test_an_amount_is_written_as_it_was_meant(lake: Lake, amount: str, written: str) -> None:
    lake.config.write_text(lake.config.read_text() + f'max_spend_per_month: "{amount}"\n')
    assert f"write it as {written}\n" in lake.ctl("config", "check").err


def test_explain_tells_why_something_is_on_hold(lake: Lake) -> None:
    lake.fill()
    lake.good("hold", "lake/2026/01.csv", "--reason", "case 17")
    assert "shrink decides: held back: a legal hold: case 17\n" in lake.good("explain", "lake/2026/01.csv").out


def test_a_plan_stands_with_the_text_that_it_was_made_by(lake: Lake) -> None:
    lake.fill()
    lake.good("plan")
    lake.policy(POLICY.replace("1KiB", "2KiB"))
    lake.good("plan")
    told = lake.good("policy", "history", "shrink", "--json").json
    (new, old), (second, first) = told["changes"], told["runs"]
    assert ("2KiB" in new["text"], "1KiB" in old["text"]) == (True, True)
    assert (first["plan"], second["plan"]) == (1, 2)
    assert old["at"] <= first["made_at"] <= new["at"] <= second["made_at"]
