"""storaged keeps every dataset in the cheapest place and form that its readers allow."""

__version__ = "0.1.0"
