"""Which prices a tier has, and what is said where they cannot be its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.config.settings import Settings, load_settings
from storaged.errors import ConfigError
from storaged.prices.load import load_prices
from storaged.prices.tiers import tier_prices


def configured(place: Path, *tiers: str) -> Settings:
    file = place / "storaged.yaml"
    file.write_text("tiers:\n" + "".join(f"  t{n}: {{rank: {n}, {tier}}}\n" for n, tier in enumerate(tiers)))
    return load_settings(file)


def test_a_tier_without_prices_has_none_rather_than_zero(tmp_path: Path) -> None:
    settings = configured(tmp_path, 'url: "s3://b/a", prices: aws/us-east-1/standard', 'url: "s3://b/c"')
    assert {name: p.id for name, p in tier_prices(settings, load_prices()).items()} == {"t0": "aws/us-east-1/standard"}


def test_directories_may_have_the_prices_of_any_class(tmp_path: Path) -> None:
    settings = configured(tmp_path, 'url: "file:///srv/a", prices: aws/us-east-1/glacier')
    assert tier_prices(settings, load_prices())["t0"].storage_class == "GLACIER"


def test_every_unknown_or_contradicting_id_is_told_by_line_with_what_would_fit(tmp_path: Path) -> None:
    settings = configured(
        tmp_path,
        'url: "s3://b/a", prices: aws/us-east-1/standrd',
        'url: "s3://b/c", storage_class: GLACIER_IR, prices: aws/us-east-1/standard',
        'url: "s3://b/d", storage_class: MY_OWN, prices: aws/us-east-1/standard',
    )
    with pytest.raises(ConfigError) as told:
        tier_prices(settings, load_prices())
    assert [str(problem).removeprefix(f"{tmp_path}/") for problem in told.value.problems] == [
        "storaged.yaml:2 at tiers.t0.prices: no price book knows `aws/us-east-1/standrd` "
        "(did you mean `aws/us-east-1/standard`?)",
        "storaged.yaml:3 at tiers.t1.prices: these are prices of STANDARD, and the tier's storage_class is GLACIER_IR "
        "(prices of that class: aws/us-east-1/glacier-ir)",
        "storaged.yaml:4 at tiers.t2.prices: these are prices of STANDARD, and the tier's storage_class is MY_OWN",
    ]
