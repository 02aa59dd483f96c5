"""`tier: auto` in plans: of each object the tier where it costs least, by a forecast of its reads.

`candidates.py` says between which tiers is chosen, `outlook.py` what is foretold and where nothing is, `choosing.py`
chooses in SQL, and `weighed.py` tells the dollars of one object. docs/auto.md says it for users.
"""
