"""`auto`: the tier of each object by what its reads and those of its dataset taught so far. Pure, in numpy.

A few rules are followed at once in thought, each with all that it would have cost (`rules.py`, from what `memory.py`
remembers). A mixture weighs them by these costs, per object and dataset, and each object is where the weighted middle
of the rules has it (`mixture.py`). docs/auto.md says it for users.
"""
