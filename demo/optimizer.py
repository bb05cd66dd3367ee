"""Muon for the matrices, Adam for everything else (Keller Jordan, "Muon: an optimizer for hidden layers", 2024)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from demo.model import Model

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_EMBEDDING, _HEAD, _NORMS, _MATRICES = 0.01, 0.004, 0.004, 0.02
_MOMENTUM = 0.95


class Optimizer:
    """Learning rates are those of the recipe; `step` scales all of them."""

    def __init__(self, model: Model) -> None:
        self._matrices = model.matrices
        self._momentum = [torch.zeros_like(matrix) for matrix in self._matrices]
        known = {id(weight) for weight in (*self._matrices, model.embedding, model.head)}
        norms = [weight for weight in model.parameters() if id(weight) not in known]
        groups = [([model.embedding], _EMBEDDING), ([model.head], _HEAD), (norms, _NORMS)]
        self._adam = torch.optim.Adam([{"params": weights, "lr": rate} for weights, rate in groups],
                                      betas=(0.9, 0.95), fused=True)
        self._rates = [group["lr"] for group in self._adam.param_groups]
        self._model = model

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One step on the gradients, which are cleared."""
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        for group, rate in zip(self._adam.param_groups, self._rates, strict=True):
            group["lr"] = rate * scale
        self._adam.step()
        for matrix, momentum in zip(self._matrices, self._momentum, strict=True):
            assert matrix.grad is not None
            momentum.lerp_(matrix.grad, 1 - _MOMENTUM)
            update = orthogonal(matrix.grad.lerp(momentum, _MOMENTUM))
            matrix.add_(update, alpha=-_MATRICES * scale * max(1, matrix.shape[1] / matrix.shape[2]) ** 0.5)
        self._model.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {"adam": self._adam.state_dict(), "momentum": self._momentum}

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        self._adam.load_state_dict(state["adam"])
        for own, kept in zip(self._momentum, state["momentum"], strict=True):
            own.copy_(kept)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest matrices with all singular values near 1, of (layers, rows, columns): five Newton-Schulz steps."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(5):
        product = x @ x.mT
        x = a * x + (b * product + c * (product @ product)) @ x
    return x.mT if tall else x
