"""Taps: how the final layer's list and intermediate layers come out of llama.cpp."""
