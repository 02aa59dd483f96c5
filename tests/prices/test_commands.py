"""`storagectl prices`, and how the configuration's own books and tiers come into it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storaged.cli.app import run
from tests.prices.test_own_books import GOOD

TIERS = (
    "tiers:\n  hot: {rank: 0, url: 's3://b/hot', prices: aws/us-east-1/standard}\n  cold: {rank: 1, url: 's3://b/c'}\n"
)


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STORAGED_CONFIG", raising=False)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_show_tells_a_region_with_units_sources_and_doubts(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "prices", "show", "aws/us-east-1")
    assert code == 0
    assert "0.023 to 51,200 GB, 0.022 to 512,000 GB, 0.021" in out
    assert "standard 0.01 + 0.05 in 5 h, expedited 0.03 + 10 in 0.0834 h, bulk 0 in 12 h?" in out
    assert "egress per GB: to the internet 0.09, to other regions 0.02" in out
    assert "AWS Price List API, us-east-1, as read by two independent programs (2026-08-01)" in out
    assert "deep-archive: requests.list" in out
    assert "GB = 1,073,741,824 bytes" in out


def test_show_of_one_class_tells_each_figure_with_its_source_and_date(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = told(capsys, "prices", "show", "aws/us-east-1/glacier")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    figure, source = lines["requests.list"].split()[1:]
    assert figure == "0.005?"
    assert lines[source] == f"{source} remembered, read nowhere (2026-11-23)"
    assert "re:Post" in lines[lines["retrieval.standard.per_1000"].split()[-1]]
    _, out, _ = told(capsys, "prices", "show", "local/example/disk")
    assert "per_gb 0.001090876953941?" in out
    assert "an example, not a price" in out


def test_show_as_json_has_the_paths_of_the_files_and_selects_by_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = told(capsys, "prices", "show", "azure/eastus2", "--json")
    classes = json.loads(out)["classes"]
    assert [c["id"] for c in classes] == ["azure/eastus2/hot", "azure/eastus2/cool"]
    assert classes[1]["requests"] == {"put": "0.01", "get": "0.001", "list": "0.005", "transition_in": "0.01"}
    assert classes[1]["unverified"] == ["egress", "requests", "retrieval"]
    _, out, _ = told(capsys, "prices", "show", "--json")
    assert len(json.loads(out)["classes"]) > 30


def test_show_of_what_is_not_there_suggests_what_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "prices", "show", "gcs/us-centrall")
    assert code == 2
    assert "did you mean `gcs/us-central1`?" in err


def test_check_takes_in_own_books_and_tiers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "storaged.yaml").write_text(TIERS)
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "ours.yaml").write_text(GOOD)
    code, out, _ = told(capsys, "prices", "check")
    assert code == 0
    assert "1 book of your own" in out
    assert "tier hot: aws/us-east-1/standard" in out
    assert "tier cold: no prices" in out
    _, out, _ = told(capsys, "prices", "check", "--json")
    assert json.loads(out)["tiers"] == {"hot": "aws/us-east-1/standard", "cold": None}
    _, out, _ = told(capsys, "prices", "show", "aws/us-east-1", "--json")
    assert [c["storage"][0]["per_gb"] for c in json.loads(out)["classes"]] == ["0.019"]


@pytest.mark.parametrize("command", ["config", "prices"])
def test_a_tier_with_unknown_prices_fails_the_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "storaged.yaml").write_text(TIERS.replace("us-east-1/standard", "us-east-1/hot"))
    code, _, err = told(capsys, command, "check")
    assert code == 2
    assert "storaged.yaml:2 at tiers.hot.prices: no price book knows `aws/us-east-1/hot`" in err


def test_check_reads_named_files_only_and_tells_all_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(GOOD.replace("put: 0.004", "put: free"))
    code, out, _ = told(capsys, "prices", "check", "good.yaml")
    assert (code, out) == (0, "good.yaml: good (1 class)\n")
    code, _, err = told(capsys, "prices", "check", "good.yaml", "bad.yaml", "none.yaml")
    assert code == 2
    assert "bad.yaml:14 at regions.us-east-1.classes.standard.requests.put" in err
    assert "none.yaml:1: the file cannot be read" in err


def test_a_configuration_that_is_named_must_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "--config", "none.yaml", "prices", "show")
    assert code == 2
    assert "none.yaml" in err
