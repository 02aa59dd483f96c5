"""What there is and what goes on, in numbers: for status, top and /metrics. Reads only."""
