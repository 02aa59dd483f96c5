"""What vendors and users worked out themselves comes out of the books to the cent. Each case names where it stands."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from storaged.prices.book import DAYS_PER_MONTH, ClassPrices
from storaged.prices.formulas import Stock, Traffic, by_steps, leaving, owed_early, read, stored
from storaged.prices.load import load_prices

BOOK: Final = load_prices()
GB: Final = 2**30
KIB: Final = 2**10


def prices(name: str) -> ClassPrices:
    return BOOK.classes[name]


def test_the_storage_example_of_the_s3_faq_with_its_steps() -> None:
    """Amazon S3 FAQ, "How will I be charged": 100 GB for 15 days of March and 100 TB for 16 are 52,900 GB-months."""
    byte_hours = 107_374_182_400 * 15 * 24 + 109_951_162_777_600 * 16 * 24
    assert byte_hours == 42_259_901_212_262_400
    standard = prices("aws/us-east-1/standard")
    months = Decimal(byte_hours) / standard.gb / (31 * 24)
    assert months == 52_900
    assert by_steps(standard.storage, months) == Decimal("1177.60") + Decimal("37.40")  # 51,200 GB and 1,700 GB


def test_a_volume_on_top_of_another_pays_the_steps_that_it_lies_in() -> None:
    """The same example in two parts: which part comes first changes nothing in the sum."""
    standard = prices("aws/us-east-1/standard")
    first = stored(standard, Stock.of(standard, 1, 50_000 * GB))
    second = stored(standard, Stock.of(standard, 1, 2_900 * GB), above=50_000 * GB)
    assert first.storage == Decimal("1150.00")
    assert second.storage == Decimal("27.60") + Decimal("37.40")


def test_the_retrieval_examples_of_aws_repost() -> None:
    """AWS re:Post knowledge center, s3-manage-data-retrieval: 15,000,000 objects of 102,400 GB out of GLACIER."""
    traffic = Traffic(15_000_000, 102_400 * GB)
    glacier = prices("aws/us-east-1/glacier")
    assert read(glacier, traffic).retrieval == 750 + 1_024
    assert read(glacier, traffic, "expedited").retrieval == 150_000 + 3_072
    assert read(glacier, traffic, "bulk").retrieval == 0


def test_a_small_object_in_standard_ia_is_billed_as_128_kb() -> None:
    """Amazon S3 FAQ: a 6 KB object in Standard-IA is billed for 6 KB and for 122 KB more."""
    stock = Stock.of(prices("aws/us-east-1/standard-ia"), 1_000_000, 6 * KIB)
    assert stock.billable == 1_000_000 * (6 + 122) * KIB


def test_an_archived_object_has_32_kb_beside_it_and_8_kb_at_standard() -> None:
    """Amazon S3 User Guide, lifecycle considerations: 40 KB more for each object, 8 KB of it at the Standard rate."""
    glacier = prices("aws/us-east-1/glacier")
    amount = stored(glacier, Stock.of(glacier, GB // KIB, 100 * KIB))  # so many objects that 1 KiB each is 1 GB
    assert amount.storage == 100 * Decimal("0.0036")
    assert amount.overhead == 32 * Decimal("0.0036") + 8 * Decimal("0.023")


def test_what_88_gb_of_music_cost_in_deep_archive() -> None:
    """gist.github.com/casouri/56e1e634e50d1ae023f3bb8ea4d053de (2023-03-24): 4,451 files, 88 GB, overhead left out."""
    deep = prices("aws/us-east-1/deep-archive")
    assert 4451 * deep.transition_in == Decimal("0.22255")
    assert stored(deep, Stock.of(deep, 4451, 88 * GB // 4451 + 1)).storage.quantize(Decimal("0.00001")) == Decimal(
        "0.08712"
    )
    assert read(deep, Traffic(4451, 88 * GB), "bulk").retrieval == Decimal("0.331275")


def test_intelligent_tiering_monitors_what_has_128_kb_or_more() -> None:
    """aws.amazon.com/s3/pricing: $0.0025 per 1,000 objects and month, none of it for objects below 128 KB."""
    tiering = prices("aws/us-east-1/intelligent-tiering")
    assert stored(tiering, Stock.of(tiering, 1_000_000, 128 * KIB)).monitoring == Decimal("2.50")
    assert stored(tiering, Stock.of(tiering, 1_000_000, 128 * KIB - 1)).monitoring == 0


def test_the_simple_example_of_google_cloud_storage() -> None:
    """cloud.google.com/storage/pricing-examples: 50 GB, 10,000 class A, 50,000 class B, 1 GB out come to $1.19."""
    standard = prices("gcs/us-central1/standard")
    parts = [
        stored(standard, Stock.of(standard, 1, 50 * GB)).total,
        10_000 * standard.put,
        read(standard, Traffic(50_000, 0)).total,
        leaving(standard, prices("aws/us-east-1/standard"), GB),
    ]
    assert parts == [Decimal("1.00"), Decimal("0.05"), Decimal("0.02"), Decimal("0.12")]
    assert sum(parts) == Decimal("1.19")


def test_nearline_that_is_removed_after_15_days_costs_as_much_again() -> None:
    """Google's terms of 2014-04-01: 1,000 GB removed on day 15 are $5 of storage and $5 of early deletion (a month of
    30 days; ours has 30.4375)."""
    nearline = prices("gcs/us-central1/nearline")
    assert owed_early(nearline, 1_000 * GB * (nearline.minimum_days - 15), 15) * DAYS_PER_MONTH / 30 == 5


def test_what_autoclass_would_have_cost_a_transit_agency() -> None:
    """github.com/cal-itp/data-infra/issues/2773 (2024-02-27): 12,532,519 objects are $31.33 for 30 days."""
    autoclass = prices("gcs/us-central1/autoclass")
    month = stored(autoclass, Stock.of(autoclass, 12_532_519, 128 * KIB)).monitoring
    assert (month / DAYS_PER_MONTH * 30).quantize(Decimal("0.01")) == Decimal("31.33")


def test_what_44_tib_cost_in_los_angeles() -> None:
    """github.com/cal-itp/data-infra/issues/5431 (2026-07-16): Standard storage is about $1,036 a month."""
    standard = prices("gcs/us-west2/standard")
    assert round(stored(standard, Stock.of(standard, 1, 44 * 1024 * GB)).total) == 1_036


def test_the_storage_and_tier_changes_of_the_azure_example() -> None:
    """MicrosoftDocs/azure-docs, blob-storage-estimate-costs.md (2024-07-26): its hot price is East US's; 5,000, 5,500
    and 5,775 GB cost $104.00, $114.40 and $120.12, and to set 1,000 blobs to cool costs $0.01."""
    hot, cool = prices("azure/eastus/hot"), prices("azure/eastus/cool")
    told = {5_000: "104.00", 5_500: "114.40", 5_775: "120.12"}
    assert {n: f"{stored(hot, Stock.of(hot, 1, n * GB)).total:.2f}" for n in told} == told
    assert 1_000 * cool.transition_in == Decimal("0.01")
