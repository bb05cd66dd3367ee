"""Decoding methods: pure functions on arrays. NumPy and values only."""
