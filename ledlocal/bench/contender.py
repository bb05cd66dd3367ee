"""Ways to choose tokens whose speed is compared."""

from __future__ import annotations

from dataclasses import dataclass

from ledlocal.values.errors import BadInput

BARE, BACKEND, STANDARD, LED = "bare", "backend", "standard", "led"
EAGER = "led:eager"
COIN = "led:coin="
DEFAULT = f"{BARE},{BACKEND},{STANDARD},{LED},{COIN}0,{COIN}0.05,{COIN}0.1,{COIN}0.3,{EAGER}"


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to choose tokens.

    `bare`: a loop of llama_decode and llama.cpp's sampler chain; `backend`: that chain computed in the model's graph;
    `standard` and `led`: ledlocal's engine; `led:coin=P`: LED that explores at a share P of the tokens, evenly spread;
    `led:eager`: every token's layers are projected, as in the paper's own implementation.
    """

    name: str
    share: float | None = None
    """Of the tokens that explore, where the coin is forced."""

    @property
    def ours(self) -> bool:
        """Through the engine."""
        return self.name not in (BARE, BACKEND)


def contenders_of(text: str) -> tuple[Contender, ...]:
    """Of a list with commas. Raises BadInput."""
    found = tuple(_contender(name.strip()) for name in text.split(","))
    if twice := [one.name for i, one in enumerate(found) if one in found[:i]]:
        raise BadInput(f"--methods names {twice[0]} twice")
    return found


def _contender(name: str) -> Contender:
    if name in (BARE, BACKEND, STANDARD, LED):
        return Contender(name)
    if name == EAGER:
        return Contender(name, 1.0)
    if name.startswith(COIN):
        try:
            share = float(name.removeprefix(COIN))
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise BadInput(f"--methods: the coin of {name!r} must be a number from 0 to 1")
        return Contender(f"{COIN}{share:g}", share)
    raise BadInput(f"--methods takes {BARE}, {BACKEND}, {STANDARD}, {LED}, {COIN}P and {EAGER}, not {name!r}")
