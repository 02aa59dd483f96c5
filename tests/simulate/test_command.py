"""`storagectl simulate`: the same figures as text, as JSON and as a drawing; and every mistake in plain words."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from storaged.cli.app import run
from tests.cli.lake import PROGRAM
from tests.simulate.conftest import KINDS

GOLDEN = Path(__file__).parent / "golden"
TIERS = "aws/us-east-1/standard,aws/us-east-1/standard-ia,aws/us-east-1/glacier-ir"
GCS = "gcs/us-central1/standard,gcs/us-central1/nearline"
POLICY = """\
name: cool
target: {dataset: "*", tier: hot}
when: {idle_for: 45d}
to: {tier: cold}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a trace, a policy and nothing else; no configuration is anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("STORAGED_CONFIG", raising=False)
    rows = ["ts,object_id,op,size_bytes,count,bytes"]
    rows += [f"{day * 86400 + 7},{name},read,{size},{count}," for day, name, size, count in _reads()]
    (tmp_path / "trace.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "cool.yaml").write_text(POLICY)
    return tmp_path


def _reads() -> list[tuple[int, str, int, int]]:
    """Terabytes that are read once, gigabytes read every fortnight, and a great many tiny ones."""
    found = [(n, f"raw/{n}", 3 << 40, 1) for n in range(4)]
    found += [(day, "model", 200 << 30, 3) for day in range(0, 365, 14)]
    found += [(day, f"tiny/{n}", 20_000, 1) for n in range(40) for day in (n, 3 * n)]
    return [*found, (364, "model", 200 << 30, 1)]


def ctl(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["simulate", *words])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_it_prints_a_table_bars_and_where_the_prices_are_from(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    code, out, err = ctl(capsys, "--trace", "trace.csv", "--tiers", TIERS, "--policy", "cool.yaml")
    assert (code, err) == (0, "")
    path = GOLDEN / "simulate.txt"
    out = out[: out.index("\nprices: ") + 1]  # of which the books' own tests tell
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(out, "utf-8")
    assert out == path.read_text("utf-8")


def test_json_has_every_policy_and_its_kinds_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ctl(capsys, "--trace", "trace.csv", "--tiers", TIERS, "--policy", "cool.yaml", "--json")
    told = json.loads(out)
    assert code == 0
    names = ["stay", "lifecycle-30-90", "idle-30-90-return", "break-even", "intelligent-tiering"]
    names += ["auto", "auto-intelligent-tiering", "cool", "optimum"]
    assert list(told["policies"]) == names
    for amounts in told["policies"].values():
        assert set(amounts) == {"total", "moves", *KINDS}
        assert sum(Decimal(amounts[kind]) for kind in KINDS) == Decimal(amounts["total"]) > 0
    assert (told["days"], told["objects"], told["first_day"]) == (365, 45, None)
    assert told["policies"]["cool"]["moves"] > 0


def test_a_policy_that_moves_to_and_fro_is_told(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    down = '{name: down, target: {dataset: "*", tier: hot}, when: {idle_for: 1d}, to: {tier: warm}}'
    up = '{name: up, target: {dataset: "*", tier: warm}, when: {reads_above: 1/week}, to: {tier: hot}}'
    (place / "swing.yaml").write_text(f"policies:\n  - {down}\n  - {up}\n")
    _, out, _ = ctl(capsys, "--trace", "trace.csv", "--tiers", TIERS, "--policy", "swing.yaml", "--json")
    [note] = [note for note in json.loads(out)["notes"] if note.startswith("swing: ")]
    assert "go back within `rest` (7d) or the minimum duration of their class: a plan holds them back" in note
    _, out, _ = ctl(capsys, "--trace", "trace.csv", "--tiers", TIERS, "--policy", "cool.yaml", "--json")
    assert not any(note.startswith("cool: ") for note in json.loads(out)["notes"])


def test_baselines_of_other_providers_are_left_out_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(ctl(capsys, "--trace", "trace.csv", "--tiers", GCS, "--json")[1])
    assert "autoclass" in told["policies"]
    assert "intelligent-tiering" not in told["policies"]
    assert "intelligent-tiering: not with these tiers" in told["notes"]
    told = json.loads(ctl(capsys, "--trace", "trace.csv", "--tiers", f"{GCS},azure/eastus/cold", "--json")[1])
    assert set(told["policies"]) == {"stay", "lifecycle-30-90", "idle-30-90-return", "break-even", "auto", "optimum"}
    assert any("several regions" in note for note in told["notes"])
    told = json.loads(ctl(capsys, "--trace", "trace.csv", "--tiers", "aws/us-east-1/standard", "--json")[1])
    assert set(told["policies"]) == {"stay", "intelligent-tiering", "optimum"}


def test_figures_that_nobody_read_anywhere_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    tiers = "gcs/us-central1/standard,gcs/us-central1/coldline"
    told = json.loads(ctl(capsys, "--trace", "trace.csv", "--tiers", tiers, "--json")[1])
    assert any(line.startswith("unverified prices: gcs/us-central1/coldline requests") for line in told["prices"])
    assert not any("requests.list" in line for line in told["prices"])


@pytest.mark.parametrize("name", ["drawn.svg", "drawn.png"])
def test_a_drawing_is_the_same_each_time(capsys: pytest.CaptureFixture[str], place: Path, name: str) -> None:
    drawn = []
    for _ in range(2):
        code, _, err = ctl(capsys, "--trace", "trace.csv", "--tiers", TIERS, "--plot", name)
        assert (code, err) == (0, f"drawn: {name}\n")
        drawn.append((place / name).read_bytes())
    assert drawn[0] == drawn[1]
    assert drawn[0][:4] in (b"<?xm", b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tiers", TIERS), "one of --trace and --history is wanted"),
        (("--trace", "trace.csv", "--history", "9d", "--tiers", TIERS), "one of --trace and --history is wanted"),
        (("--trace", "nowhere.csv", "--tiers", TIERS), "the trace nowhere.csv cannot be read"),
        (("--trace", "trace.csv", "--tiers", "aws/us-east-1/standart"), "no price book knows"),
        (("--trace", "trace.csv", "--tiers", ""), "no price book knows"),
        (("--trace", "trace.csv", "--tiers", f"{TIERS},aws/us-east-1/standard"), "twice"),
        (("--trace", "trace.csv", "--tiers", "aws/us-east-1/intelligent-tiering"), "moves objects by itself"),
        (("--trace", "trace.csv", "--tiers", GCS, "--policy", "cool.yaml"), "cool.yaml:4 at to.tier: `cold`"),
        (("--trace", "trace.csv", "--tiers", TIERS, "--policy", "none.yaml"), "none.yaml:1"),
        (("--trace", "trace.csv", "--tiers", TIERS, *["--policy", "cool.yaml"] * 2), "the name cool is taken"),
        (("--trace", "trace.csv", "--tiers", TIERS, "--policy", "stay.yaml"), "the name stay is taken"),
        (("--trace", "trace.csv", "--tiers", TIERS, "--plot", "drawn.bmp"), "drawn.bmp cannot be drawn"),
        (("--trace", "trace.csv", "--tiers", TIERS, "--plot", "nowhere/drawn.svg"), "cannot be written"),
        (("--history", "9", "--tiers", TIERS), "--history"),
        (("--history", "36h", "--tiers", TIERS), "is not a number of days"),
        (("--history", "9d", "--tiers", TIERS), "there is no configuration"),
    ],
)
def test_mistakes_are_told_in_plain_words(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    code, out, err = ctl(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err


def test_help_is_fast_and_loads_none_of_what_counts() -> None:
    heavy = "('numpy', 'duckdb', 'plotext', 'matplotlib', 'sqlalchemy')"
    script = f"import sys, storaged.cli.simulate; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert subprocess.run([*PROGRAM, "simulate", "--help"], capture_output=True, check=True).stdout
