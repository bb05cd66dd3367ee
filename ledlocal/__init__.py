"""Local inference on GGUF reasoning models with Latent Exploration Decoding (arXiv 2602.01698)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledlocal.engine.engine import Engine as Engine

__version__ = "0.1.0"
__all__ = ["Engine", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the engine on first use, so that `ledlocal --help` stays light."""
    if name == "Engine":
        from ledlocal.engine.engine import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
