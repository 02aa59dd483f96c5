"""The storaged.yaml that `storagectl init` writes."""

from __future__ import annotations

from typing import Final

_STARTER: Final = """\
# storaged keeps every dataset in the cheapest place and form that its readers allow.
# `storagectl config check` reads this file and says everything that is wrong with it.
# Sizes: 128KiB, 1TiB, 1GB. Durations: 14d, 1h30m, 90s (m is minutes). Relative paths start from this file's directory.

# What storaged knows: an SQLite file, or postgresql://user@host/database for many machines. Passwords never stand here:
# set STORAGED_CATALOG_PASSWORD, STORAGED_CATALOG_PASSWORD_FILE or the systemd credential storaged.catalog_password.
catalog: sqlite:///storaged.db
state_dir: state        # locks, spools and temporary files
policies: policies      # a directory of policy files

quiet_for: 1h           # younger objects are left alone
grace: 7d               # a source is kept this long after its copy took over; `undo` works until then

# Tiers are places of our own: nothing else may write below their URLs. Rank 0 is the hottest.
# Tiers and roots must lie beside one another, never inside one another.
tiers:
  hot:
    rank: 0
    url: file:///srv/storaged/hot
    # prices: local/example/disk    # what it costs: plans then speak money. `storagectl prices show` lists them
  warm:
    rank: 1
    url: file:///srv/storaged/warm
    read_latency: 10ms  # how long a reader waits for the first byte
  cold:
    rank: 2
    url: file:///srv/storaged/cold
    read_latency: 50ms
    # capacity: {size: 4TiB, high: 85%, low: 70%}   # above `high`, objects are moved out until `low`

# Datasets are yours: storaged reads below their roots and, with your policies, moves what is cold.
datasets:
  example:
    root: file:///srv/data/example
    owner: you@example.org
    tags: {team: research}
    # `raw`: programs read the files by their paths, so nothing leaves its place.
    # `storaged`: everybody reads through storaged, so objects may move.
    readers: raw
    # partitions: dt={dt}/hour={hour}
    # pin: hot                    # stays in this tier whatever the policies say
    # hold: "case 2026-17"        # a legal hold: nothing is moved or deleted

# Logs that tell who read what. Without them nothing counts as idle.
# heat:
#   - name: reads
#     format: jsonl
#     path: logs/reads-*.jsonl
#     since: 2026-01-31T00:00:00Z   # the log is complete from here

# Limits of every policy that does not set its own.
limits:
  max_percent: 20%
  stop_on_error_rate: 2%
  # max_spend: 50 USD             # of one run
  # max_spend_per_month: 200 USD  # of one policy
"""


def starter_text() -> str:
    """A commented storaged.yaml that loads as it is: local tiers hot, warm and cold, and one dataset."""
    return _STARTER
