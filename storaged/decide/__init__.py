"""Deciding: policies, what they select, and the plan. Pure: no I/O, no clock; statements and values only."""
