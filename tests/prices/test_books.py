"""The shipped books are complete, sourced, and say which of their figures are not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
import yaml

from storaged.errors import UsageError
from storaged.prices.book import ClassPrices
from storaged.prices.load import SHIPPED, load_prices, prices_of

BOOK: Final = load_prices()
EVERY: Final = sorted(BOOK.classes)
FILES: Final = sorted(SHIPPED.glob("*.yaml"))
PROMISED: Final = (
    *("aws/us-east-1/" + n for n in ("standard", "standard-ia", "onezone-ia", "intelligent-tiering", "glacier-ir")),
    *("aws/us-east-1/" + n for n in ("glacier", "deep-archive")),
    *("gcs/us-central1/" + n for n in ("standard", "nearline", "coldline", "archive", "autoclass")),
    *("azure/eastus/" + n for n in ("hot", "cool", "cold", "archive")),
    "local/example/disk",
)


def test_every_class_that_is_promised_is_there() -> None:
    assert set(PROMISED) <= set(EVERY)


@pytest.mark.parametrize("id_", EVERY)
def test_every_figure_has_a_source_and_what_is_only_remembered_is_marked(id_: str) -> None:
    prices = BOOK.classes[id_]
    for figure, source in prices.sources.items():
        assert source.text
        assert source.date[:2] == "20"
        remembered = source.text.startswith(("remembered", "one secondary", "an example"))
        parts = [other for other in prices.sources if other.startswith(f"{figure}.")]
        assert not remembered or prices.doubted(figure or "disk") or parts, figure


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_gb_of_every_shipped_book_has_2_to_the_30_bytes_and_no_source_is_idle(path: Path) -> None:
    text = path.read_text()
    told = yaml.safe_load(text)
    assert told["gb"] == 2**30
    for name in told["sources"]:
        assert text.count(name) > 1, f"nothing was read at {name}"


@pytest.mark.parametrize("id_", EVERY)
def test_no_class_is_free_by_mistake(id_: str) -> None:
    prices = BOOK.classes[id_]
    assert prices.storage[0].per_gb > 0
    assert prices.provider == "local" or (prices.put > 0 and prices.get > 0 and prices.egress.internet > 0)
    assert prices.archived is any(way.hours > 0 for way in prices.retrieval.values())


def by_region(book: dict[str, ClassPrices]) -> dict[str, list[ClassPrices]]:
    regions: dict[str, list[ClassPrices]] = {}
    for prices in book.values():
        regions.setdefault(prices.region, []).append(prices)
    return regions


@pytest.mark.parametrize("region", sorted(by_region(dict(BOOK.classes))))
def test_colder_classes_of_a_region_store_cheaper_and_are_kept_longer(region: str) -> None:
    plain = [prices for prices in by_region(dict(BOOK.classes))[region] if not prices.inner]
    per_gb = [prices.storage[0].per_gb for prices in plain]
    days = [prices.minimum_days for prices in plain]
    assert per_gb == sorted(per_gb, reverse=True)
    assert days == sorted(days)


def test_a_disk_of_ones_own_is_amortised_as_the_page_says() -> None:
    """By hand: (20 / 60 + 0.0005 kW × 730.5 h × 0.20) × 2 / 0.8 per TB of 10^12 bytes, for a GB of 2^30."""
    [step] = BOOK.classes["local/example/disk"].storage
    per_tb = (Decimal(20) / 60 + Decimal("0.07305")) * Decimal("2.5")
    assert abs(step.per_gb - per_tb * 2**30 / 10**12) < Decimal("1e-20")


def test_a_raw_class_is_priced_by_its_sibling_in_the_region_if_there_is_one() -> None:
    standard = BOOK.classes["aws/us-east-1/standard"]
    assert BOOK.of(standard, "GLACIER") is BOOK.classes["aws/us-east-1/glacier"]
    assert BOOK.of(standard, "REDUCED_REDUNDANCY") is None
    disk = BOOK.classes["local/example/disk"]
    assert BOOK.of(disk, "STANDARD") is disk


def test_an_unknown_id_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(UsageError) as told:
        prices_of(BOOK, "aws/us-east-1/standart")
    assert told.value.hint == "did you mean `aws/us-east-1/standard`?"


def test_a_figure_is_doubted_with_its_group_and_its_parts() -> None:
    glacier, nearline = BOOK.classes["aws/us-east-1/glacier"], BOOK.classes["gcs/us-central1/nearline"]
    assert glacier.doubted("retrieval.bulk.per_1000")
    assert glacier.doubted("retrieval.bulk")
    assert not glacier.doubted("retrieval.standard")
    assert nearline.doubted("requests.get")
    assert not nearline.doubted("storage")


def test_a_figures_source_is_the_nearest_that_is_told() -> None:
    glacier = BOOK.classes["aws/us-east-1/glacier"]
    assert "re:Post" in glacier.source("retrieval.bulk.per_gb").text
    assert "Price List" in glacier.source("storage").text
