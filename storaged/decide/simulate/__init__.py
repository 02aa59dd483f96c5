"""Policies tried on accesses that were: pure, in numpy. docs/simulate.md has the rules, so that anyone can recompute.

A policy turns a trace into *stays*, the time that each object spends in each tier; one function bills any stays. What
is billed are exact integers (byte-days, reads, moves), and prices come to them in Decimal at the very end.
"""
