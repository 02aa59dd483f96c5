"""Weights and arrays, byte plane by byte plane, each tensor in frames of its own."""
