"""From the catalog's past to a forecast model: read, learnt, judged on days after it, kept if it is better."""
