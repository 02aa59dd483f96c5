"""From policies to a saved plan: what it selects, what it would gain and cost, and why an object is in it or not."""
