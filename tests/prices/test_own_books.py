"""Books of one's own: they take the place of shipped regions, and whatever is wrong with them comes out at once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from storaged.errors import ConfigError
from storaged.prices.load import load_prices

GOOD = """\
provider: aws
title: what we pay
gb: 1073741824
sources:
  contract: {text: our contract, date: 2026-01-31}
regions:
  us-east-1:
    source: contract
    egress: {internet: 0.05, regions: 0.01}
    classes:
      standard:
        storage_class: STANDARD
        storage: [{per_gb: 0.019}]
        requests: {put: 0.004, get: 0.0003, list: 0.004, transition_in: 0.004}
"""


def told(directory: Path, *texts: str) -> list[str]:
    """What loading these books says, without the directory."""
    for number, text in enumerate(texts):
        (directory / f"{number}.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_prices(directory)
    return [str(problem).removeprefix(f"{directory}/") for problem in caught.value.problems]


def test_a_region_of_ones_own_replaces_the_whole_shipped_one_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "ours.yml").write_text(GOOD)
    book = load_prices(tmp_path)
    assert [id_ for id_ in book.classes if id_.startswith("aws/us-east-1/")] == ["aws/us-east-1/standard"]
    assert book.classes["aws/us-east-1/standard"].storage[0].per_gb == Decimal("0.019")
    assert "aws/eu-central-1/standard" in book.classes


def test_a_missing_directory_holds_no_books(tmp_path: Path) -> None:
    assert load_prices(tmp_path / "none") == load_prices()


def test_prices_are_read_exactly_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(GOOD.replace("0.0003", "0.00000000000000017"))
    assert load_prices(tmp_path).classes["aws/us-east-1/standard"].get == Decimal("1.7E-19")


def test_all_problems_of_all_books_come_out_at_once_with_their_lines(tmp_path: Path) -> None:
    first = GOOD.replace("source: contract", "source: contrct").replace("0.019", "-1")
    second = GOOD.replace("get: 0.0003", "got: 0.0003")
    assert told(tmp_path, first, second) == [
        "0.yaml:13 at regions.us-east-1.classes.standard.storage[0].per_gb: -1 is not at least 0",
        "1.yaml:14 at regions.us-east-1.classes.standard.requests.get: `get` is missing",
        "1.yaml:14 at regions.us-east-1.classes.standard.requests.got: unknown key `got` (did you mean `get`?)",
    ]


def test_sources_and_unverified_figures_must_be_there(tmp_path: Path) -> None:
    text = GOOD.replace("source: contract", "source: contrct\n    unverified: [egres]") + (
        "        sources: {requests.got: contract, storage: contrac}\n        unverified: [retrieval.bulk]\n"
    )
    standard = "regions.us-east-1.classes.standard"
    figures = "egress, egress.internet, egress.regions, requests, requests.get, requests.list, requests.put, "
    figures += "requests.transition_in, storage"
    assert told(tmp_path, text) == [
        "0.yaml:8 at regions.us-east-1.source: there is no source 'contrct' (did you mean `contract`?)",
        "0.yaml:9 at regions.us-east-1.unverified[0]: there is no figure 'egres' (did you mean `egress`?)",
        f"0.yaml:16 at {standard}.sources.\"requests.got\": there is no figure 'requests.got' "
        "(did you mean `requests.get`?)",
        f"0.yaml:16 at {standard}.sources.storage: there is no source 'contrac' (did you mean `contract`?)",
        f"0.yaml:17 at {standard}.unverified[0]: there is no figure 'retrieval.bulk' (known here: {figures})",
    ]


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("[{per_gb: 0.019}]", "[{up_to_gb: 5, per_gb: 1}, {up_to_gb: 5, per_gb: 1}, {per_gb: 1}]", "volume steps rise"),
        ("[{per_gb: 0.019}]", "[{per_gb: 1}, {per_gb: 1}]", "volume steps rise"),
        ("[{per_gb: 0.019}]", "[{up_to_gb: 5, per_gb: 1}]", "volume steps rise"),
        ("        storage: [{per_gb: 0.019}]\n", "", "a class has either `storage` or `disk`"),
        (
            "        requests: {put: 0.004, get: 0.0003, list: 0.004, transition_in: 0.004}\n",
            "",
            "`requests` is missing",
        ),
        (
            "storage_class: STANDARD\n",
            "storage_class: STANDARD\n        inner: [{name: b, idle_days: 9, per_gb: 1}, "
            "{name: a, idle_days: 9, per_gb: 1}]\n",
            "inner tiers follow one another by rising idle_days",
        ),
        ("provider: aws", "provider: AWS", "'AWS' cannot be part of a price's id"),
        ("date: 2026-01-31", "date: January", "'January'"),
        ("gb: 1073741824", "gb: 0", "0 is not more than 0"),
        ("      standard:", "      standard/ia:", "'standard/ia' cannot be part of a price's id"),
    ],
)
def test_what_cannot_be_is_refused_in_plain_words(tmp_path: Path, was: str, now: str, message: str) -> None:
    assert was in GOOD
    problems = told(tmp_path, GOOD.replace(was, now))
    assert len(problems) == 1
    assert message in problems[0]


def test_a_disk_needs_no_prices_of_requests(tmp_path: Path) -> None:
    disk = "disk: {price_per_tb: 30, lifetime_months: 60, copies: 1, usable: 1, watts_per_tb: 0, per_kwh: 0}"
    text = "\n".join(line for line in GOOD.splitlines() if "requests" not in line) + "\n"
    (tmp_path / "disk.yaml").write_text(text.replace("storage: [{per_gb: 0.019}]", disk).replace("aws", "local"))
    prices = load_prices(tmp_path).classes["local/us-east-1/standard"]
    assert prices.storage[0].per_gb == Decimal("0.5") * 2**30 / 10**12
    assert prices.put == 0
