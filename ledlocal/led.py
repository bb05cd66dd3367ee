"""Latent Exploration Decoding as a library: `from ledlocal.led import explore`. Needs NumPy, nothing else."""

from __future__ import annotations

from ledlocal.methods.led import Exploration, explore, law, layers_of

__all__ = ["Exploration", "explore", "law", "layers_of"]
