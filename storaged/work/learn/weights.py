"""What each way to decide has earned in this catalog, at the prices of its tiers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from storaged.config.settings import Settings
from storaged.decide.forecast.hedge import weigh
from storaged.decide.forecast.history import History
from storaged.decide.simulate.tariff import Tariff
from storaged.prices.load import load_prices
from storaged.prices.tiers import tier_prices


def weights(
    settings: Settings, history: History, until: int, horizons: tuple[int, ...], notes: list[str]
) -> dict[str, dict[str, float]]:
    """By dataset name the share of each way, from the days before `until`; forecasts are of these horizons (days). Why
    there are none is noted. Every object begins in the tier of its root. Raises ConfigError as `tier_prices` does."""
    prices = tier_prices(settings, load_prices(settings.price_books))
    names = sorted(
        (name for name, of_tier in prices.items() if not of_tier.inner), key=lambda name: settings.tiers[name].rank
    )
    if len(names) < 2:
        notes.append("nothing is weighed: fewer than two tiers have prices, so that no way is cheaper than another")
        return {}
    homes = [settings.dataset_values[name].tier if name in settings.dataset_values else "" for name in history.names]
    mine = np.array([home in names for home in homes])
    place = np.array([names.index(home) if home in names else 0 for home in homes], np.int8)
    placed = replace(history, trace=replace(history.trace, home=place[history.dataset]))
    found = weigh(placed, Tariff.of([prices[name] for name in names]), settings.half_life, until, horizons, mine)
    if not found:
        notes.append("nothing is weighed: there are too few days to try ways to decide on")
    unpriced = [name for name, known in zip(history.names, mine, strict=True) if not known]
    if unpriced:
        notes.append(f"not weighed, for what their roots' tiers cost is not known: {', '.join(unpriced)}")
    return found
