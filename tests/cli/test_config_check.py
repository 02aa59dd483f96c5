"""`config check` says all that is wrong at once, and `catalog create --make` makes what it misses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storaged.testing.servers import MotoServer
from tests.cli.lake import Lake
from tests.postgres import PostgresServer

WRONG = """\
tiers:
  hot: {{rank: 0, url: "file://{place}/hot", prices: nowhere/x}}
  warm: {{rank: 1, url: "gs://bucket/x"}}
  cold: {{rank: 2, url: "file://{place}/away", capacity: 5}}
datasets:
  lake: {{root: "file://{place}/lake", readers: storaged}}
  pond: {{root: "file://{place}/none"}}
spending: 5
"""
POLICIES = """\
name: shrink
target: {dataset: lake}
when: {size_over: 1KiB}
to: {tier: colt}
limits: {max_spend: "5"}
"""


def said(lake: Lake, *options: str) -> list[str]:
    """The places and messages of what `config check` finds, without hints."""
    answer = lake.ctl("config", "check", *options)
    assert answer.code == 2, answer
    lines = answer.err.replace(str(lake.place), "/place").splitlines()
    return [line.strip() for line in lines if line.startswith("  ") and not line.startswith("    hint")]


def test_all_that_is_wrong_is_said_at_once_in_the_order_of_the_lines(lake: Lake) -> None:
    lake.config.write_text(WRONG.format(place=lake.place))
    lake.policy(POLICIES)
    assert said(lake) == [
        "/place/storaged.yaml:2 at tiers.hot.prices: no price book knows `nowhere/x`",
        "/place/storaged.yaml:3 at tiers.warm.url: 'gs://bucket/x' is at no store that storaged knows",
        "/place/storaged.yaml:4 at tiers.cold.capacity: a mapping of keys to values is wanted here, not 5",
        "/place/storaged.yaml:4 at tiers.cold.url: /place/away does not exist",
        "/place/storaged.yaml:7 at datasets.pond.root: /place/none does not exist",
        "/place/storaged.yaml:8 at spending: unknown key `spending`",
        "/place/policies/policy.yaml:4 at to.tier: there is no tier 'colt'",
        "/place/policies/policy.yaml:5 at limits.max_spend: '5' is not an amount of money",
    ]


def test_folders_that_are_named_and_not_there_are_said_by_their_lines(lake: Lake) -> None:
    lines = len(lake.config.read_text().splitlines())
    lake.configure(more="policies: rules\nprice_books: books\n")
    assert said(lake) == [f"/place/storaged.yaml:{lines + 2} at price_books: /place/books does not exist"]
    (lake.place / "books").mkdir()
    (lake.place / "rules").write_text("")
    assert said(lake) == [f"/place/storaged.yaml:{lines + 1} at policies: /place/rules is no directory"]
    (lake.place / "rules").unlink()
    lake.make_catalog()
    lake.good("scan")
    where = f"{lake.config}:{lines + 1} at policies: {lake.place}/rules does not exist: there are no policies"
    assert where in lake.good("plan").err


def test_where_nothing_of_ours_could_be_made_is_said(lake: Lake) -> None:
    (lake.place / "file").write_text("")
    text = lake.config.read_text()
    assert text.startswith("catalog: ")
    lines = [line for line in text.splitlines() if not line.startswith(("catalog:", "state_dir:"))]
    lake.config.write_text("\n".join(["catalog: sqlite:///no/such/catalog.db", "state_dir: file/state", *lines]) + "\n")
    assert said(lake) == [
        "/place/storaged.yaml:1 at catalog: /place/no/such does not exist",
        "/place/storaged.yaml:2 at state_dir: /place/file is no directory",
    ]
    lake.config.write_text(lake.config.read_text().replace("no/such", "file").replace("file/state", "made/later"))
    assert said(lake) == ["/place/storaged.yaml:1 at catalog: /place/file is no directory"]


def test_a_container_of_a_store_that_nobody_knows_is_no_user_and_no_password_is_repeated(lake: Lake) -> None:
    text = lake.config.read_text()
    lake.config.write_text(text.replace(f"file://{lake.place}/cold", "abfs://box@account.example.net/x"))
    assert "abfs:// is at no store that storaged knows" in lake.ctl("config", "check").err
    lake.config.write_text(text.replace(f"file://{lake.place}/cold", "sftp://me:hunter22@host/x"))
    answer = lake.ctl("config", "check")
    assert "sftp:// is at no store that storaged knows" in answer.err
    assert "hunter22" not in answer.err


def test_who_has_no_credentials_is_not_told_of_rights(
    lake: Lake, bucket: str, moto: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.config.write_text(lake.config.read_text().replace(f"file://{lake.place}/cold", f"s3://{bucket}/x"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
    lake.good("config", "check")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    answer = lake.ctl("config", "check")
    assert "no credentials" in answer.err
    assert "look at the credentials of this machine" in answer.err
    assert "allow s3:" not in answer.err


@pytest.mark.parametrize("text", ["tiers: 5\n", "tiers: {}\n", "tiers: [\n", "- a\n", "tiers: {hot: {rank: x}}\n"])
def test_what_leaves_nothing_to_look_at_is_said_all_the_same(lake: Lake, text: str) -> None:
    lake.config.write_text(text)
    assert said(lake)


def test_a_file_in_a_places_stead_is_no_directory(lake: Lake) -> None:
    (lake.place / "cold").rmdir()
    (lake.place / "cold").write_text("")
    assert said(lake) == ["/place/storaged.yaml:6 at tiers.cold.url: /place/cold is no directory"]


def test_what_is_missing_is_made_for_tiers_and_for_nobody_else(lake: Lake) -> None:
    for name in ("hot", "cold", "lake"):
        (lake.place / name).rmdir()
    lake.config.write_text(lake.config.read_text().replace("/cold", "/a/b/cold"))
    assert len(said(lake)) == 3
    assert lake.ctl("catalog", "create", "--make").code != 0
    assert not lake.root.exists()
    lake.root.mkdir()
    answer = lake.good("catalog", "create", "--make", "--json").json
    assert answer["made"] == []  # they were made before
    lake.good("config", "check")
    for made in (lake.place / "hot", lake.place / "a/b/cold"):
        assert os.stat(made).st_mode & 0o777 == 0o700


def test_a_bucket_that_is_not_there_is_said_unless_nobody_is_to_ask(
    lake: Lake, moto: MotoServer, bucket: str, tmp_path: Path
) -> None:
    text = lake.config.read_text().replace(f"file://{lake.place}/cold", "s3://no-such-bucket/cold")
    text = text.replace(f"file://{lake.place}/warm", f"s3://{bucket}/warm")
    lake.config.write_text(f'{text}buckets: {{"*": {{endpoint: "{moto.endpoint}", path_style: true}}}}\n')
    [problem] = said(lake)
    assert problem.startswith("/place/storaged.yaml:6 at tiers.cold.url: ")
    assert "no-such-bucket" in problem
    lake.good("config", "check", "--offline")


@pytest.mark.parametrize("there", [True, False])
def test_a_postgres_that_does_not_answer_is_said_and_one_without_a_catalog_is_well(
    lake: Lake, postgres: PostgresServer, there: bool
) -> None:
    lines = lake.config.read_text().splitlines()
    name = postgres.make_database()
    url = postgres.url(name) if there else "postgresql://storaged@127.0.0.1:1/storaged"
    lake.config.write_text("\n".join([f"catalog: {url}", *(x for x in lines if not x.startswith("catalog:"))]))
    if there:
        assert lake.ctl("config", "check").code == 0
    else:
        assert lake.ctl("config", "check", "--offline").code == 0
        [line] = said(lake)
        assert line.startswith("/place/storaged.yaml:1 at catalog: ")
        assert "127.0.0.1" in line


def test_what_will_be_written_into_a_root_is_said_before_it_is(lake: Lake) -> None:
    answer = lake.good("config", "check")
    assert "a folder `.storaged` will be written into the root of lake: " in answer.out
    assert not (lake.root / ".storaged").exists()
    lake.good("catalog", "create")
    assert (lake.root / ".storaged").exists()
    assert lake.good("config", "check", "--json").json["unwritten"] == []
