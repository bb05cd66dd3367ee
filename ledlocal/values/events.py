"""What an engine says while it works: past-tense facts, one stream, many views (terminal, TUI, evaluation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["thinking", "answer"]
Finish = Literal["stop", "length", "cancelled", "invalid"]
"""`stop`: the model ended or a stop string matched; `length`: limit or full context; `invalid`: non-finite logits."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What was loaded."""

    path: str
    name: str
    architecture: str
    layers: int
    vocabulary: int
    context: int
    """Tokens per sequence, as opened."""
    trained_context: int
    slots: int
    think_start: str | None
    think_end: str | None
    think_found: str
    """How the markers were found: `render`, `source`, `vocabulary`, `flag` or `none`."""
    sampling: dict[str, float]
    """The file's own `general.sampling.*` values: any of temperature, top_k, top_p, min_p."""
    chat_template: bool
    template_sha256: str
    """Of the chat template in use; empty without one."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is ready."""

    model: ModelFacts
    tap: str
    """Tap that runs: `native`, `plugin`, `reference` or `none`."""
    load_s: float
    memory: dict[str, int]
    """Bytes planned for weights, KV cache and compute buffers, by device; empty where llama.cpp does not tell."""
    notices: tuple[str, ...] = ()
    """Sentences to say once: a refused tap, a model without thinking, a clipped context."""


@dataclass(frozen=True, slots=True)
class Prefilled:
    """Part of a sequence's prompt is in the KV cache; more of it is to come."""

    request: int
    sample: int
    cached: int
    """Prompt tokens that are there, those that still were included."""
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Started:
    """A sequence's prompt is in the KV cache; its first token is next."""

    request: int
    sample: int
    prompt_ids: tuple[int, ...]
    reused: int
    """Prompt tokens that were still in the KV cache."""
    prefill_s: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """The final layer's k most probable tokens, and what other layers think of them."""

    ids: tuple[int, ...]
    """(k,) by falling final-layer probability, ties by id."""
    texts: tuple[str, ...]
    layers: tuple[int, ...]
    """(d,) 1-based numbers of the layers, the final one first."""
    posteriors: tuple[tuple[float, ...], ...]
    """(d, k) full-vocabulary probabilities; only the final layer's row if the token was not projected."""
    entropy: tuple[float, ...]
    """Nats over the k candidates of each cumulative mixture: (d,) projected, (1,) not."""


@dataclass(frozen=True, slots=True)
class Lens:
    """What every layer says at one position: its hidden state through the output head, over the full vocabulary.

    Layers 1 ... L, at temperature 1; None where a layer's logits are not finite.
    """

    entropy: tuple[float | None, ...]
    """(L,) nats, without the model's final norm."""
    rank: tuple[int | None, ...]
    """(L,) tokens that are more probable there than the final layer's favourite; 0: that one is the layer's, too."""
    normed_entropy: tuple[float | None, ...]
    """(L,) the same with the final norm; layer L is then the model's own output."""
    normed_rank: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """One token was chosen."""

    request: int
    sample: int
    i: int
    """Position in the generated tokens, from 0."""
    id: int
    text: str
    """Text that this token completed; empty for control tokens, markers and half characters."""
    phase: Phase
    marker: bool
    """Part of a thinking marker."""
    forced: bool
    """Put there by the budget or by 'answer now', not drawn."""
    confidence: float
    """p_top1: the final layer's largest full-vocabulary probability, at the sampling temperature.

    At temperature 1 when that is 0, and for `standard` in llama's order, which truncates before the temperature.
    """
    entropy: float
    """Of the final layer over the full vocabulary at the same temperature, in nats."""
    explored: bool
    changed: bool
    """Explored, and another token than the same u1 draws from the final layer's candidates."""
    depth: int | None
    """Chosen depth: 0 is the final layer alone; None if the token was not projected."""
    u: tuple[float, float]
    """The uniforms of this position: coin and token."""
    candidates: Candidates | None = None
    lens: Lens | None = None
    """Where the token was chosen; None unless the engine was loaded with `lens`."""


@dataclass(frozen=True, slots=True)
class Exploration:
    """Totals of a sequence over its thinking tokens (over all tokens if the scope is `all`)."""

    explored: int
    changed: int
    depth_histogram: tuple[int, ...]
    """(d,) explored tokens by chosen depth."""
    mean_confidence: float | None


@dataclass(frozen=True, slots=True)
class Finished:
    """A sequence ended."""

    request: int
    sample: int
    finish: Finish
    reason: str
    """One sentence when `finish` alone does not say it, else empty."""
    answer: str
    thinking: str
    ids: tuple[int, ...]
    """Every id of the reply, those that the request continued included; so are text and counts."""
    continued: int
    """How many of `ids` the request gave."""
    prompt_tokens: int
    thinking_tokens: int
    answer_tokens: int
    prefill_s: float
    decode_s: float
    led: Exploration

    @property
    def tokens_per_s(self) -> float | None:
        """Of what this request added, behind the prompt; None if it took no time."""
        return (len(self.ids) - self.continued) / self.decode_s if self.decode_s > 0 else None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to say once."""

    request: int
    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A request could not be served; the engine goes on."""

    request: int
    message: str
    kind: str
    """Name of a class in `ledlocal.values.errors`."""


Event = Loaded | Prefilled | Started | Token | Finished | Notice | Failed
