"""A lake of real data, moved, killed, lost and found again by storaged: `make demo`."""
