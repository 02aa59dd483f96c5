"""How often each object will be read: learnt from the past, told with its spread. Pure, in numpy and SQL.

`history.py` makes samples of the past, `fit.py` priors of samples, `rates.py` forecasts of priors and of what an object
was read, and `judge.py` says how good they were. docs/forecast.md says it for users.
"""
