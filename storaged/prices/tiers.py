"""Which prices the tiers of storaged.yaml have."""

from __future__ import annotations

from storaged.config.messages import did_you_mean, path_text
from storaged.config.settings import Settings
from storaged.config.yaml import read_document
from storaged.errors import ConfigError, Problem
from storaged.prices.book import ClassPrices, PriceBook
from storaged.stores.schemes import terms_of


def tier_prices(settings: Settings, book: PriceBook) -> dict[str, ClassPrices]:
    """The prices of every tier that names some, by the tier's name. What a tier without `prices` costs is not known.

    Raises ConfigError where no book knows the id, or where it prices another storage class than the tier's own.
    """
    found: dict[str, ClassPrices] = {}
    wrong: list[tuple[str, str, str | None]] = []
    for name, tier in settings.tiers.items():
        if tier.prices is None:
            continue
        prices = book.classes.get(tier.prices)
        if prices is None:
            message = f"no price book knows `{tier.prices}`"
            wrong.append((name, message, did_you_mean(tier.prices, book.classes)))
        elif terms_of(tier.url).classes and prices.storage_class != tier.storage_class:
            message = (
                f"these are prices of {prices.storage_class}, and the tier's storage_class is {tier.storage_class}"
            )
            fits = [id_ for id_, c in book.classes.items() if c.storage_class == tier.storage_class]
            same = [id_ for id_ in fits if book.classes[id_].region == prices.region]
            wrong.append((name, message, f"prices of that class: {', '.join(same or fits)}" if fits else None))
        else:
            found[name] = prices
    if wrong:
        document = read_document(settings.file)
        paths = [(("tiers", name, "prices"), message, hint) for name, message, hint in wrong]
        raise ConfigError(
            tuple(
                Problem(document.file, document.line(path), path_text(path), message, hint)
                for path, message, hint in paths
            )
        )
    return found
